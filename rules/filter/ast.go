package filter

// A Pos is a place in the text of a condition.
type Pos struct {
	Offset int // in bytes, from 0
	Line   int // from 1
	Col    int // in runes, from 1
}

// An Expr is a condition or a part of one: *And, *Or, *Not, *Check or *Ident.
type Expr interface {
	Pos() Pos
	expr()
}

// An And is true if all of its parts are. There are at least two.
type And struct {
	At    Pos
	Exprs []Expr
}

// An Or is true if one of its parts is. There are at least two.
type Or struct {
	At    Pos
	Exprs []Expr
}

// A Not is true if its part is not. Repeated nots in a row are reduced by Parse: "not not a" is a.
type Not struct {
	At   Pos
	Expr Expr
}

// An Ident is the name of a macro.
type Ident struct {
	At   Pos
	Name string
}

// A Check compares the left side with the right.
type Check struct {
	At    Pos
	Left  Operand // *Field or *Transform
	Op    Op
	OpPos Pos
	Mod   Modifier
	Right Operand // nil for Exists; else *Value, *List, *Transform; a Transform may be val(field)
}

// An Operand is a side of a Check or an argument of a Transform: *Field, *Transform, *Value, *List or *Args.
type Operand interface {
	Pos() Pos
	operand()
}

// A Field is the use of a field.
type Field struct {
	At     Pos
	Name   string // "proc.aname", "evt.arg.flags"
	Arg    string // text in brackets, unquoted
	HasArg bool   // there are brackets: an argument may be empty
}

// A Transform is a transformer applied to its arguments. Val is the one that only names a field on the right-hand side.
type Transform struct {
	At     Pos
	Name   string // "tolower", "val"
	Args   []Operand
	Arg    string // of getopt(…)[c]
	HasArg bool
}

// A Value is a literal: a string, a number, or the name behind a list operator that was not replaced by a list.
type Value struct {
	At   Pos
	Text string // unquoted
}

// A List is the list of values of a list operator or a modifier.
type List struct {
	At    Pos
	Items []*Value
}

// Args is a list of operands in parentheses as an argument of a transformer: join(",", (a.b, c.d)).
type Args struct {
	At    Pos
	Items []Operand
}

// Pos is the place of the first part.
func (e *And) Pos() Pos { return e.At }

// Pos is the place of the first part.
func (e *Or) Pos() Pos { return e.At }

// Pos is the place of the first not.
func (e *Not) Pos() Pos { return e.At }

// Pos is the place of the name.
func (e *Ident) Pos() Pos { return e.At }

// Pos is the place of the left side.
func (e *Check) Pos() Pos { return e.At }

// Pos is the place of the name.
func (e *Field) Pos() Pos { return e.At }

// Pos is the place of the name.
func (e *Transform) Pos() Pos { return e.At }

// Pos is the place of the literal, its quote included.
func (e *Value) Pos() Pos { return e.At }

// Pos is the place of the parenthesis.
func (e *List) Pos() Pos { return e.At }

// Pos is the place of the parenthesis.
func (e *Args) Pos() Pos { return e.At }

func (*And) expr()   {}
func (*Or) expr()    {}
func (*Not) expr()   {}
func (*Ident) expr() {}
func (*Check) expr() {}

func (*Field) operand()     {}
func (*Transform) operand() {}
func (*Value) operand()     {}
func (*List) operand()      {}
func (*Args) operand()      {}

// Walk calls visit for e and, while it returns true, for the parts of e.
func Walk(e Expr, visit func(Expr) bool) {
	if !visit(e) {
		return
	}
	switch e := e.(type) {
	case *And:
		for _, x := range e.Exprs {
			Walk(x, visit)
		}
	case *Or:
		for _, x := range e.Exprs {
			Walk(x, visit)
		}
	case *Not:
		Walk(e.Expr, visit)
	}
}

// Fields calls visit for each use of a field in e, those in transformers and on right-hand sides included, in the order of the text.
func Fields(e Expr, visit func(*Field)) {
	Walk(e, func(e Expr) bool {
		if c, ok := e.(*Check); ok {
			OperandFields(c.Left, visit)
			if c.Right != nil {
				OperandFields(c.Right, visit)
			}
		}
		return true
	})
}

// OperandFields is Fields for one operand.
func OperandFields(o Operand, visit func(*Field)) {
	switch o := o.(type) {
	case *Field:
		visit(o)
	case *Transform:
		for _, a := range o.Args {
			OperandFields(a, visit)
		}
	case *Args:
		for _, a := range o.Items {
			OperandFields(a, visit)
		}
	}
}

// Replace returns e with each *Ident replaced by what with returns for it; nil leaves it. Trees are not changed: what is the same is shared.
func Replace(e Expr, with func(*Ident) Expr) Expr {
	switch e := e.(type) {
	case *Ident:
		if x := with(e); x != nil {
			return x
		}
	case *Not:
		if x := Replace(e.Expr, with); x != e.Expr {
			return &Not{At: e.At, Expr: x}
		}
	case *And:
		if exprs, changed := replaceAll(e.Exprs, with); changed {
			return &And{At: e.At, Exprs: exprs}
		}
	case *Or:
		if exprs, changed := replaceAll(e.Exprs, with); changed {
			return &Or{At: e.At, Exprs: exprs}
		}
	}
	return e
}

func replaceAll(exprs []Expr, with func(*Ident) Expr) ([]Expr, bool) {
	out, changed := make([]Expr, len(exprs)), false
	for i, x := range exprs {
		out[i] = Replace(x, with)
		changed = changed || out[i] != x
	}
	return out, changed
}
