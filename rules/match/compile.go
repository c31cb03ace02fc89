package match

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// A Compiler compiles conditions for one Env. It remembers checks by identity: those that conditions share, because they come from the same
// macro, are compiled once. It is for one goroutine.
type Compiler struct {
	env    Env
	output bool // for an output, not a condition
	done   map[*filter.Check]*checked
	cur    *checked // the check in hand
}

// A checked is a compiled check.
type checked struct {
	node     *Node
	refs     []field.Ref
	warnings []Warning
}

// NewCompiler returns a compiler for conditions used in env.
func NewCompiler(env Env) *Compiler {
	return &Compiler{env: env, done: make(map[*filter.Check]*checked), cur: new(checked)}
}

// Compile gives e its meaning. The error is an *Error.
func Compile(e filter.Expr, env Env) (*Program, []Warning, error) { return NewCompiler(env).Compile(e) }

// Compile gives e its meaning. The error is an *Error.
func (c *Compiler) Compile(e filter.Expr) (*Program, []Warning, error) {
	p := &Program{expr: e}
	var warnings []Warning
	var err error
	if p.tree, err = c.expr(e); err != nil {
		return nil, nil, err
	}
	filter.Walk(e, func(e filter.Expr) bool {
		if check, ok := e.(*filter.Check); ok {
			done := c.done[check]
			warnings = append(warnings, done.warnings...)
			for _, r := range done.refs {
				if !slices.Contains(p.refs, r) {
					p.refs = append(p.refs, r)
				}
			}
		}
		return true
	})
	p.root = contradiction(fold(p.tree, always))
	p.events, p.evErr = eventsOf(e)
	return p, warnings, nil
}

// CompileOperand gives a field or a transformer of an output its meaning. The error is an *Error.
func CompileOperand(o filter.Operand, env Env) (*Operand, error) {
	c := NewCompiler(env)
	c.output = true
	return c.operand(o, leftSide)
}

func (c *Compiler) expr(e filter.Expr) (*Node, error) {
	switch e := e.(type) {
	case *filter.And:
		return c.join(And, e, e.Exprs)
	case *filter.Or:
		return c.join(Or, e, e.Exprs)
	case *filter.Not:
		kid, err := c.expr(e.Expr)
		if err != nil {
			return nil, err
		}
		return &Node{Kind: Not, Kids: []*Node{kid}, Expr: e}, nil
	case *filter.Check:
		if done, ok := c.done[e]; ok {
			return done.node, nil
		}
		c.cur = new(checked)
		atom, err := c.check(e)
		if err != nil {
			return nil, err
		}
		c.cur.node = &Node{Kind: Check, Atom: atom, Expr: e}
		c.done[e] = c.cur
		return c.cur.node, nil
	case *filter.Ident:
		return nil, &Error{Pos: e.At, Msg: fmt.Sprintf("unexpected identifier '%s'", e.Name)}
	}
	return nil, errorf(filter.Pos{}, "no condition")
}

func (c *Compiler) join(kind Kind, e filter.Expr, exprs []filter.Expr) (*Node, error) {
	n := &Node{Kind: kind, Kids: make([]*Node, len(exprs)), Expr: e}
	for i, x := range exprs {
		var err error
		if n.Kids[i], err = c.expr(x); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// check compiles one comparison.
func (c *Compiler) check(e *filter.Check) (*Atom, error) {
	left, err := c.operand(e.Left, leftSide)
	if err != nil {
		return nil, err
	}
	a := &Atom{Left: left, Op: e.Op, Mod: e.Mod}
	if a.Op == filter.DoubleEqual {
		a.Op = filter.Equal
	}
	if err := admissible(a, e.OpPos); err != nil {
		return nil, err
	}
	switch right := e.Right.(type) {
	case nil:
	case *filter.Transform:
		err = c.rightOperand(a, right)
	case *filter.Value:
		err = c.literals(a, []*filter.Value{right})
	case *filter.List:
		err = c.literals(a, right.Items)
	default:
		err = errorf(right.Pos(), "unexpected right-hand side")
	}
	if err != nil {
		return nil, err
	}
	a.key = atomKey(a)
	return a, nil
}

// atomKey is the same for atoms that always have the same result.
func atomKey(a *Atom) string {
	b := make([]byte, 0, 64)
	b = append(append(b, a.Left.key...), ' ')
	b = append(append(b, a.Op.String()...), ' ')
	b = append(append(b, a.Mod.String()...), ' ')
	if a.Right != nil {
		return string(append(b, a.Right.key...))
	}
	texts := make([]string, len(a.Values))
	for i, v := range a.Values {
		texts[i] = v.Text
	}
	if a.Mod != filter.OneOf {
		slices.Sort(texts)
		texts = slices.Compact(texts)
	}
	for _, t := range texts {
		b = strconv.AppendInt(b, int64(len(t)), 10)
		b = append(append(b, ':'), t...)
	}
	return string(b)
}

// rightOperand compiles a right-hand side that is a field or a transformer.
func (c *Compiler) rightOperand(a *Atom, t *filter.Transform) error {
	right, err := c.operand(t, rightSide)
	if err != nil {
		return err
	}
	switch {
	case a.Op == filter.PMatch || a.Op == filter.Regex || a.Op == filter.Exists || a.Mod != 0:
		return errorf(t.At, "operator '%s' does not support a field or a transformer on the right-hand side", a.Op)
	case a.Left.Kind == FieldOperand && a.Left.Ref.ID.Info().Flags&field.FlagNoRHS != 0:
		return errorf(t.At, "field '%s' does not support a right-hand side field", a.Left.key)
	case !sameType(a.Left, right):
		return errorf(t.At, "field '%s' has type '%s' while the right-hand side field '%s' has incompatible type '%s'",
			a.Left.key, typeName(a.Left), right.key, typeName(right))
	}
	a.Right = right
	return nil
}

// sameType reports whether the sides of a comparison have the same type, and both or neither are lists.
func sameType(l, r *Operand) bool {
	return l.Type == r.Type && l.List == r.List
}

// literals compiles a right-hand side of values.
func (c *Compiler) literals(a *Atom, values []*filter.Value) error {
	for _, v := range values {
		lit, err := parseLiteral(a, v)
		if err != nil {
			return err
		}
		c.warnValue(a, v)
		a.Values = append(a.Values, lit)
	}
	test, err := newTest(a)
	if err != nil {
		return err
	}
	a.test = test
	return nil
}

// A side says where an operand stands.
type side uint8

const (
	leftSide side = iota
	rightSide
	insideCall
)

func (c *Compiler) operand(o filter.Operand, at side) (*Operand, error) {
	switch o := o.(type) {
	case *filter.Field:
		return c.field(o, at)
	case *filter.Transform:
		if o.Name == "val" {
			return c.operand(o.Args[0], at)
		}
		return c.call(o)
	case *filter.Value:
		return &Operand{Kind: LiteralOperand, Type: field.TypeString, Text: o.Text, pos: o.At, key: filter.PrintOperand(o)}, nil
	case *filter.Args:
		list := &Operand{Kind: ListOperand, Type: field.TypeString, List: true, pos: o.At, key: filter.PrintOperand(o)}
		for _, item := range o.Items {
			x, err := c.operand(item, insideCall)
			if err != nil {
				return nil, err
			}
			list.Path = list.Path || x.Path
			list.Args = append(list.Args, x)
		}
		return list, nil
	}
	return nil, errorf(o.Pos(), "unexpected operand")
}

// field compiles one use of a field.
func (c *Compiler) field(f *filter.Field, at side) (*Operand, error) {
	ref, err := field.Resolve(f.Name, f.Arg, f.HasArg)
	if err == nil && !ref.ID.Info().InSource(c.env.Source) {
		err = &field.UnknownError{Name: filter.PrintOperand(f)}
	}
	if err != nil {
		return nil, fieldError(err, f.At)
	}
	info := ref.ID.Info()
	switch {
	case info.Flags&field.FlagPrintOnly != 0 && !c.output:
		return nil, errorf(f.At, "field '%s' is for outputs only", info.Name)
	case info.Flags&field.FlagFilterOnly != 0 && c.output:
		return nil, errorf(f.At, "field '%s' is for conditions only", info.Name)
	case at == rightSide && info.Flags&field.FlagNoRHS != 0:
		return nil, errorf(f.At, "field '%s' cannot be used as a right-hand side field", info.Name)
	}
	o := &Operand{
		Kind: FieldOperand, Type: info.Type, List: info.Flags&field.FlagList != 0 && ref.Arg == "", Ref: ref, Path: ref.IsPath(), pos: f.At,
		key: ref.String(),
	}
	if o.Type == field.TypeDyn {
		t, _ := field.RawArgType(ref.Arg)
		o.Type = t.FieldType()
	}
	c.cur.refs = append(c.cur.refs, ref)
	return o, nil
}

// fieldError puts an error of package field where the field stands.
func fieldError(err error, pos filter.Pos) *Error {
	e := &Error{Pos: pos, Msg: err.Error()}
	if unknown, ok := errors.AsType[*field.UnknownError](err); ok {
		e.Near, e.Unknown = unknown.Near, true
	}
	if arg, ok := errors.AsType[*field.ArgError](err); ok {
		e.Near, e.Unknown = arg.Near, strings.HasPrefix(arg.Msg, "unknown ")
	}
	return e
}
