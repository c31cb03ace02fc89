package match

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

type compiler struct {
	env      Env
	output   bool // for an output, not a condition
	refs     []field.Ref
	warnings []Warning
}

// CompileOperand gives a field or a transformer of an output its meaning. The error is an *Error.
func CompileOperand(o filter.Operand, env Env) (*Operand, error) {
	c := compiler{env: env, output: true}
	return c.operand(o, leftSide)
}

func (c *compiler) expr(e filter.Expr) (*Node, error) {
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
		atom, err := c.check(e)
		if err != nil {
			return nil, err
		}
		return &Node{Kind: Check, Atom: atom, Expr: e}, nil
	case *filter.Ident:
		return nil, &Error{Pos: e.At, Msg: fmt.Sprintf("unexpected identifier '%s'", e.Name)}
	}
	return nil, errorf(filter.Pos{}, "no condition")
}

func (c *compiler) join(kind Kind, e filter.Expr, exprs []filter.Expr) (*Node, error) {
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
func (c *compiler) check(e *filter.Check) (*Atom, error) {
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
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s ", a.Left.key, a.Op, a.Mod)
	if a.Right != nil {
		b.WriteString(a.Right.key)
		return b.String()
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
		fmt.Fprintf(&b, "%q,", t)
	}
	return b.String()
}

// rightOperand compiles a right-hand side that is a field or a transformer.
func (c *compiler) rightOperand(a *Atom, t *filter.Transform) error {
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
func (c *compiler) literals(a *Atom, values []*filter.Value) error {
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

func (c *compiler) operand(o filter.Operand, at side) (*Operand, error) {
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
func (c *compiler) field(f *filter.Field, at side) (*Operand, error) {
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
	o := &Operand{Kind: FieldOperand, Type: info.Type, List: info.Flags&field.FlagList != 0 && ref.Arg == "", Ref: ref, Path: ref.IsPath(), pos: f.At,
		key: ref.String()}
	if o.Type == field.TypeDyn {
		t, _ := field.RawArgType(ref.Arg)
		o.Type = t.FieldType()
	}
	if !slices.Contains(c.refs, ref) {
		c.refs = append(c.refs, ref)
	}
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
