package match

import (
	"unicode/utf8"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// A callKind is a transformer.
type callKind uint8

const (
	callToLower callKind = iota + 1
	callToUpper
	callB64
	callBasename
	callLen
	callJoin
	callConcat
	callGetopt
)

var callKinds = map[string]callKind{
	"tolower": callToLower, "toupper": callToUpper, "b64": callB64, "basename": callBasename, "len": callLen, "join": callJoin,
	"concat": callConcat, "getopt": callGetopt,
}

// call compiles a transformer with its arguments.
func (c *Compiler) call(t *filter.Transform) (*Operand, error) {
	o := &Operand{Kind: CallOperand, Text: t.Name, pos: t.At, key: filter.PrintOperand(t), fn: callKinds[t.Name], Key: t.Arg}
	if o.fn == 0 {
		return nil, errorf(t.At, "unknown transformer '%s'", t.Name)
	}
	for _, a := range t.Args {
		arg, err := c.operand(a, insideCall)
		if err != nil {
			return nil, err
		}
		if err := transformable(arg); err != nil {
			return nil, err
		}
		o.Path = o.Path || arg.Path
		o.Args = append(o.Args, arg)
	}
	if t.HasArg && o.fn != callGetopt {
		return nil, errorf(t.At, "filter error: transformer '%s' does not support field arguments", t.Name)
	}
	if err := o.resultType(t.HasArg); err != nil {
		return nil, err
	}
	return o, nil
}

// transformable refuses fields that take no transformer.
func transformable(arg *Operand) error {
	if arg.Kind == FieldOperand && arg.Ref.ID.Info().Flags&field.FlagNoTransformer != 0 {
		return errorf(arg.pos, "field '%s' does not support transformers", arg.key)
	}
	for _, a := range arg.Args {
		if err := transformable(a); err != nil {
			return err
		}
	}
	return nil
}

// resultType checks the arguments of a transformer and sets the type of its result.
func (o *Operand) resultType(hasKey bool) error {
	want := 1
	switch o.fn {
	case callJoin, callGetopt:
		want = 2
	case callConcat:
		want = len(o.Args)
	}
	if len(o.Args) != want {
		return errorf(o.pos, "transformer '%s' takes %d argument(s), not %d", o.Text, want, len(o.Args))
	}
	first := o.Args[0]
	o.Type = field.TypeString
	switch o.fn {
	case callLen:
		o.Type = field.TypeUint64
		if !first.List && first.Type != field.TypeString && first.Type != field.TypeBytes {
			return unsupported(o, first)
		}
		return nil
	case callJoin:
		if err := wantString(o, first); err != nil {
			return err
		}
		return wantList(o, o.Args[1])
	case callGetopt:
		return o.getoptType(hasKey)
	case callConcat:
		for _, a := range o.Args {
			if err := wantString(o, a); err != nil {
				return err
			}
		}
		return nil
	}
	o.Type, o.List = first.Type, first.List
	if bytes := o.fn == callB64 && first.Type == field.TypeBytes; first.Type != field.TypeString && !bytes {
		return unsupported(o, first)
	}
	return nil
}

// getoptType checks the arguments of getopt(list, options) and getopt(list, options)[c].
func (o *Operand) getoptType(hasKey bool) error {
	args := o.Args[0]
	if !args.List && (args.Kind != FieldOperand || args.Type != field.TypeString) {
		return wantList(o, args)
	}
	if err := wantString(o, o.Args[1]); err != nil {
		return err
	}
	if hasKey && utf8.RuneCountInString(o.Key) != 1 {
		return errorf(o.pos, "the argument of transformer 'getopt' must be one option character, not '%s'", o.Key)
	}
	o.List = !hasKey
	return nil
}

func wantString(o, arg *Operand) error {
	if arg.List || arg.Type != field.TypeString {
		return unsupported(o, arg)
	}
	return nil
}

func wantList(o, arg *Operand) error {
	if !arg.List {
		return unsupported(o, arg)
	}
	return nil
}

func unsupported(o, arg *Operand) error {
	what := "field"
	if arg.List {
		what = "list field"
	}
	return errorf(arg.pos, "can't add field transformer: type '%s' is not supported by '%s' transformer applied on %s '%s'",
		typeNames[arg.Type], o.Text, what, arg.key)
}
