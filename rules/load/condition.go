package load

import (
	"errors"
	"fmt"
	"sort"

	"github.com/tiercel-project/tiercel/rules/filter"
)

// An exprFile is the text of a parsed condition. Like the files of go/token each has offsets of its own, so that an offset in a tree says
// which text it is in, however trees are joined.
type exprFile struct {
	base  int
	text  text
	sc    *scope
	macro *Macro // whose condition it is; nil: a rule's
}

// A Condition is the parsed condition of a rule or a macro, lists expanded.
type Condition struct {
	Expr filter.Expr // macros replaced; offsets are those of Collection.ConditionProblem
	raw  filter.Expr // macros as names
	base int
	size int // checks in Expr
}

// maxChecks is how many checks a condition may have with its macros. Macros of macros of macros would grow without bound.
const maxChecks = 50_000

// parse expands the lists in t and parses it.
func (c *Collection) parse(t text, sc *scope, m *Macro) (*Condition, *Problem) {
	t = c.expandLists(t)
	e, err := filter.Parse(t.s)
	if err != nil {
		ferr, ok := errors.AsType[*filter.Error](err)
		if !ok {
			return nil, sc.here(ErrCompileCondition, err.Error(), "")
		}
		return nil, syntaxProblem(t, sc, ferr)
	}
	base := 1
	if n := len(c.exprs); n > 0 {
		base = c.exprs[n-1].base + len(c.exprs[n-1].text.s) + 1
	}
	c.exprs = append(c.exprs, exprFile{base: base, text: t, sc: sc, macro: m})
	rebase(e, base)
	return &Condition{raw: e, base: base}, nil
}

// syntaxProblem returns the problem that err tells of. In the items of a list it is where the list is named: they are right by themselves.
func syntaxProblem(t text, sc *scope, err *filter.Error) *Problem {
	sp, ok := t.span(min(err.Offset, max(len(t.s)-1, 0)))
	if !ok || sp.via == nil {
		return conditionProblem(&exprFile{text: t, sc: sc}, ErrCompileCondition, err.Offset, err.Msg, nearHint(err.Near))
	}
	name := sp.via.src.text[sp.via.off:]
	name = name[:wordWidth(name, 0)]
	in := &scope{parent: sc, itemType: "condition expression", at: *sp.via}
	return in.problem(ErrCompileCondition, *sp.via, len(name), err.Msg, fmt.Sprintf("%q is a list: its items stand here, separated by commas", name))
}

func nearHint(near string) string {
	if near == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", near)
}

// conditionProblem returns a problem at offset off of f's text.
func conditionProblem(f *exprFile, code Code, off int, msg, hint string) *Problem {
	p := f.text.place(min(off, len(f.text.s)))
	width := 1
	if p.src != nil {
		width = wordWidth(p.src.text, p.off)
	}
	sc := &scope{parent: f.sc, itemType: "condition expression", at: p}
	return sc.problem(code, p, width, msg, hint)
}

// wordWidth returns how far the word at off reaches.
func wordWidth(s string, off int) int {
	if off >= len(s) {
		return 1
	}
	return max(wordEnd(s, off)-off, 1)
}

// exprAt returns the text that offset off of a tree is in.
func (c *Collection) exprAt(off int) *exprFile {
	i := sort.Search(len(c.exprs), func(i int) bool { return c.exprs[i].base > off }) - 1
	if i < 0 {
		return nil
	}
	return &c.exprs[i]
}

// Resolve parses the conditions of macros and rules and replaces macros in them. What is wrong goes into the Report that Read returned.
// Conditions maps each rule that can be compiled to its condition; rules of unknown sources are not in it.
func (c *Collection) Resolve() (conditions map[*Rule]*Condition) {
	for _, l := range c.Lists {
		x := c.expand(l)
		l.Items = x.items
	}
	bad := map[*Macro]bool{}
	for _, m := range c.Macros {
		cond, err := c.parse(m.cond, m.condSc, m)
		if err != nil {
			c.fail(err)
			bad[m] = true
		}
		m.tree = cond
	}
	for _, m := range c.Macros {
		c.resolveMacro(m, bad)
	}
	conditions = make(map[*Rule]*Condition, len(c.Rules))
	for _, u := range c.Rules {
		u.Output = u.output.s
		if u.UnknownSource {
			continue
		}
		if cond := c.resolveRule(u, bad); cond != nil {
			conditions[u] = cond
		}
	}
	return conditions
}

func (c *Collection) resolveRule(u *Rule, bad map[*Macro]bool) *Condition {
	t, err := u.condition()
	if err != nil {
		c.fail(err)
		return nil
	}
	cond, err := c.parse(t, u.condSc, nil)
	if err != nil {
		c.fail(err)
		return nil
	}
	return c.replaceMacros(cond, u.sc, func(m *Macro) bool { return true }, bad)
}

// States of resolving a macro.
const (
	unresolved uint8 = iota
	resolving
	resolved
)

// resolveMacro replaces the macros in m's condition by theirs: those defined before m was last defined or appended to.
func (c *Collection) resolveMacro(m *Macro, bad map[*Macro]bool) {
	if m.state != unresolved || bad[m] {
		return
	}
	m.state = resolving
	if c.replaceMacros(m.tree, m.sc, func(o *Macro) bool { return o.def < m.visible }, bad) == nil {
		bad[m] = true
	}
	m.state = resolved
}

// replaceMacros replaces the macros in cond that are visible. It returns nil if one is in error, which it reports unless that was done.
func (c *Collection) replaceMacros(cond *Condition, sc *scope, visible func(*Macro) bool, bad map[*Macro]bool) *Condition {
	var first *Problem
	failed := false
	filter.Walk(cond.raw, func(e filter.Expr) bool {
		if _, ok := e.(*filter.Check); ok {
			cond.size++
		}
		return true
	})
	cond.Expr = filter.Replace(cond.raw, func(id *filter.Ident) filter.Expr {
		m := c.macros[id.Name]
		switch f := c.exprAt(id.At.Offset); {
		case m == nil || !visible(m) || f.text.place(id.At.Offset-f.base).fileIndex() < m.file:
			failed = true
			if first == nil && !c.failed["macro "+id.Name] {
				first = conditionProblem(f, ErrValidate, id.At.Offset-f.base, fmt.Sprintf("Undefined macro '%s' used in filter.", id.Name), c.macroHint(id.Name, m))
			}
			return nil
		case m.state == resolving:
			failed = true
			if first == nil {
				first = c.loopProblem(m, id)
			}
			return nil
		}
		m.Used = true
		if f := c.exprAt(id.At.Offset); f.macro != nil {
			f.macro.via = id
		}
		c.resolveMacro(m, bad)
		if bad[m] {
			failed = true
			return nil
		}
		cond.size += m.tree.size
		return m.tree.Expr
	})
	if first == nil && cond.size > maxChecks {
		failed, first = true, sc.here(ErrCompileCondition, fmt.Sprintf("condition has more than %d checks", maxChecks), "")
	}
	if first != nil {
		c.fail(first)
	}
	if failed {
		return nil
	}
	return cond
}

// loopProblem is about macro m, in whose resolution id names m again. As in Falco it is reported where m's own condition goes astray.
func (c *Collection) loopProblem(m *Macro, id *filter.Ident) *Problem {
	f := c.exprAt(id.At.Offset)
	if f.macro != m {
		id = m.via
		f = c.exprAt(id.At.Offset)
	}
	return conditionProblem(f, ErrValidate, id.At.Offset-f.base, fmt.Sprintf("reference loop in macro '%s'", m.Name), "")
}

// macroHint says what to do about the macro called name, which m, if it is not nil, defines where it is not seen.
func (c *Collection) macroHint(name string, m *Macro) string {
	if m != nil {
		line, _ := m.sc.at.lineCol()
		return fmt.Sprintf("it is defined later, at %s:%d; move it up", m.sc.at.src.name, line)
	}
	if c.lists[name] != nil {
		return fmt.Sprintf("%q is a list: use it behind in, intersects or pmatch", name)
	}
	return c.nearHint("macro", name, keysOf(c.macros))
}

func (p place) fileIndex() int {
	if p.src == nil {
		return 0
	}
	return p.src.file
}

// rebase adds base to all offsets of e.
func rebase(e filter.Expr, base int) {
	filter.Walk(e, func(e filter.Expr) bool {
		switch e := e.(type) {
		case *filter.And:
			e.At.Offset += base
		case *filter.Or:
			e.At.Offset += base
		case *filter.Not:
			e.At.Offset += base
		case *filter.Ident:
			e.At.Offset += base
		case *filter.Check:
			e.At.Offset += base
			e.OpPos.Offset += base
			rebaseOperand(e.Left, base)
			rebaseOperand(e.Right, base)
		}
		return true
	})
}

func rebaseOperand(o filter.Operand, base int) {
	switch o := o.(type) {
	case *filter.Field:
		o.At.Offset += base
	case *filter.Value:
		o.At.Offset += base
	case *filter.List:
		o.At.Offset += base
		for _, v := range o.Items {
			rebaseOperand(v, base)
		}
	case *filter.Args:
		o.At.Offset += base
		for _, a := range o.Items {
			rebaseOperand(a, base)
		}
	case *filter.Transform:
		o.At.Offset += base
		for _, a := range o.Args {
			rebaseOperand(a, base)
		}
	}
}
