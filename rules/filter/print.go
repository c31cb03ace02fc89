package filter

import "strings"

// Print writes e so that Parse reads the same tree from it.
func Print(e Expr) string {
	var p printer
	p.expr(e)
	return p.String()
}

// FalcoString writes e as Falco does: what Falco quotes is quoted, and nothing else. Parse may read something else from it, or nothing.
func FalcoString(e Expr) string {
	p := printer{falco: true}
	p.expr(e)
	return p.String()
}

// PrintOperand writes o so that it is read back as it is.
func PrintOperand(o Operand) string {
	var p printer
	p.operand(o, false)
	return p.String()
}

type printer struct {
	strings.Builder
	falco bool
}

func (p *printer) expr(e Expr) {
	switch e := e.(type) {
	case *And:
		p.join(" and ", e.Exprs)
	case *Or:
		p.join(" or ", e.Exprs)
	case *Not:
		p.WriteString("not ")
		if _, ok := e.Expr.(*Not); ok && !p.falco {
			p.WriteByte('(')
			p.expr(e.Expr)
			p.WriteByte(')')
		} else {
			p.expr(e.Expr)
		}
	case *Ident:
		if e.Name == "not" && !p.falco {
			p.WriteString("(not)")
		} else {
			p.WriteString(e.Name)
		}
	case *Check:
		p.check(e)
	}
}

func (p *printer) join(word string, exprs []Expr) {
	p.WriteByte('(')
	for i, x := range exprs {
		if i > 0 {
			p.WriteString(word)
		}
		p.expr(x)
	}
	p.WriteByte(')')
}

func (p *printer) check(c *Check) {
	p.operand(c.Left, false)
	p.WriteByte(' ')
	p.WriteString(c.Op.String())
	if c.Mod != 0 {
		p.WriteByte(' ')
		p.WriteString(c.Mod.String())
	}
	if c.Right == nil {
		return
	}
	p.WriteByte(' ')
	if v, ok := c.Right.(*Value); ok && !p.falco && !c.Op.IsNumeric() && !c.Op.IsList() && c.Mod == 0 && isModifier(v.Text) {
		p.WriteString(escape(v.Text))
		return
	}
	p.operand(c.Right, false)
}

func isModifier(s string) bool {
	return s == OneOf.String() || s == AnyOf.String() || s == AllOf.String()
}

// operand writes o; inside says that it is an argument of a transformer, where strings are always quoted.
func (p *printer) operand(o Operand, inside bool) {
	switch o := o.(type) {
	case *Field:
		p.WriteString(o.Name)
		p.argument(o.Arg, o.HasArg)
	case *Transform:
		p.WriteString(o.Name)
		p.operands("(", ",", o.Args)
		p.argument(o.Arg, o.HasArg)
	case *Args:
		p.operands("(", ",", o.Items)
	case *Value:
		p.value(o.Text, inside)
	case *List:
		p.WriteByte('(')
		for i, v := range o.Items {
			if i > 0 {
				p.WriteString(", ")
			}
			p.value(v.Text, false)
		}
		p.WriteByte(')')
	}
}

func (p *printer) operands(open, sep string, items []Operand) {
	p.WriteString(open)
	for i, a := range items {
		if i > 0 {
			p.WriteString(sep)
		}
		p.operand(a, true)
	}
	p.WriteByte(')')
}

func (p *printer) argument(arg string, ok bool) {
	if !ok {
		return
	}
	p.WriteByte('[')
	bare := arg != "" && prefixLen(arg, isBareArg) == len(arg)
	if bare && (!p.falco || !falcoQuotes(arg)) {
		p.WriteString(arg)
	} else {
		p.WriteString(escape(arg))
	}
	p.WriteByte(']')
}

func (p *printer) value(s string, inside bool) {
	var plain bool
	switch {
	case p.falco && inside:
		plain = true
	case p.falco:
		plain = !falcoQuotes(s)
	case inside:
		plain = s != "" && numberLen(s) == len(s)
	default:
		plain = s != "" && prefixLen(s, isBare) == len(s)
	}
	switch {
	case plain:
		p.WriteString(s)
	case p.falco:
		p.WriteString(falcoEscape(s))
	default:
		p.WriteString(escape(s))
	}
}

// falcoQuotes reports whether Falco quotes s.
func falcoQuotes(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == '=' || s[i] == '\\' || s[i] == '"' || s[i] == '\'' {
			return true
		}
	}
	return s == ""
}

var falcoEscaper = strings.NewReplacer("\b", `\b`, "\f", `\f`, "\n", `\n`, "\r", `\r`, "\t", `\t`, `\`, `\\`, `"`, `\"`)

func falcoEscape(s string) string { return `"` + falcoEscaper.Replace(s) + `"` }
