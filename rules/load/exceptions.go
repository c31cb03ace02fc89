package load

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/spell"
)

// appendException adds x to the exceptions of prev: values to one that is there, or a new one.
func (r *reader) appendException(prev *Rule, x *exception) *Problem {
	i := slices.IndexFunc(prev.exceptions, func(e *exception) bool { return e.name == x.name })
	if i < 0 {
		switch {
		case !x.fields.given:
			hint := ""
			names := make([]string, len(prev.exceptions))
			for i, e := range prev.exceptions {
				names[i] = e.name
			}
			if near := spell.Nearest(x.name, names); near != "" {
				hint = fmt.Sprintf("the rule has no exception of that name; did you mean %q?", near)
			}
			return x.sc.here(ErrValidate, msgNoFields, hint)
		case len(x.values) == 0:
			return x.sc.here(ErrValidate, "Rule exception must have values property with a list of values", "")
		}
		if err := r.checkException(prev, x); err != nil {
			return err
		}
		prev.exceptions = append(slices.Clip(prev.exceptions), x)
		return nil
	}
	switch {
	case x.fields.given:
		return x.sc.here(ErrValidate, "Can not append exception fields to existing exception, only values", "")
	case x.comps.given:
		return x.sc.here(ErrValidate, "Can not append exception comps to existing exception, only values", "")
	}
	e := *prev.exceptions[i]
	if !e.fields.given && len(x.values) > 0 {
		return e.sc.here(ErrValidate, msgNoFields, "")
	}
	e.values = slices.Concat(e.values, x.values)
	prev.exceptions = slices.Clone(prev.exceptions)
	prev.exceptions[i] = &e
	return nil
}

// checkException checks the fields and operators of x and fills in the operators that are not given.
func (r *reader) checkException(u *Rule, x *exception) *Problem {
	if !x.fields.isList {
		return r.checkScalarException(u, x)
	}
	if !x.comps.given {
		x.comps = entry{given: true, isList: true, at: x.fields.at}
		for range x.fields.items {
			x.comps.items = append(x.comps.items, entry{given: true, item: text{s: "="}, at: x.fields.at})
		}
	}
	if len(x.fields.items) != len(x.comps.items) {
		return x.sc.here(ErrValidate, "Fields and comps lists must have equal length", "")
	}
	for _, c := range x.comps.items {
		if _, ok := operator(c.item.s); !ok {
			return badOperator(x, c)
		}
	}
	for _, f := range x.fields.items {
		if err := r.checkField(u, x, f); err != nil {
			return err
		}
	}
	return nil
}

// checkScalarException is checkException for an exception on one field that is not in a list.
func (r *reader) checkScalarException(u *Rule, x *exception) *Problem {
	if !x.comps.given {
		x.comps = entry{given: true, item: text{s: "in"}, at: x.fields.at}
	}
	if x.comps.isList {
		return x.sc.here(ErrValidate, "Fields and comps must both be strings", "")
	}
	if list, ok := operator(x.comps.item.s); !ok || !list {
		return x.sc.problem(ErrValidate, x.comps.at, len(x.comps.item.s),
			"When fields is a single value, comps must be one of (in, pmatch, intersects) or an operator with a modifier", "put fields and comps in brackets to use another operator")
	}
	return r.checkField(u, x, x.fields)
}

func badOperator(x *exception, c entry) *Problem {
	hint := "the operators are " + joinOps()
	if near := spell.Nearest(c.item.s, opNames()); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return x.sc.problem(ErrValidate, c.at, len(c.item.s), fmt.Sprintf("'%s' is not a supported comparison operator", c.item.s), hint)
}

func opNames() []string {
	ops := filter.Operators()
	names := make([]string, len(ops))
	for i, op := range ops {
		names[i] = op.String()
	}
	return names
}

func joinOps() string { return strings.Join(opNames(), " ") }

// operator reports whether s is an operator, maybe with a modifier, and whether it takes a list.
func operator(s string) (list, ok bool) {
	base, mod, modified := strings.Cut(strings.Join(strings.Fields(s), " "), " ")
	op, ok := filter.OpByName(base)
	if !ok || !modified {
		return op.IsList(), ok
	}
	known := mod == filter.OneOf.String() || mod == filter.AnyOf.String() || mod == filter.AllOf.String()
	return true, known && !op.IsList() && !op.IsNumeric() && op != filter.Exists
}

// checkField checks that f is a field of the rule's source, maybe inside a transformer.
func (r *reader) checkField(u *Rule, x *exception, f entry) *Problem {
	if u.UnknownSource || r.opts.FieldError == nil {
		return nil
	}
	var bad error
	o, n, err := filter.ParseOperand(f.item.s)
	if err != nil || n != len(f.item.s) {
		bad = fmt.Errorf("no field")
	} else {
		filter.OperandFields(o, func(fl *filter.Field) {
			text := fl.Name
			if fl.HasArg {
				text += "[" + fl.Arg + "]"
			}
			if err := r.opts.FieldError(u.Source, text); err != nil && bad == nil {
				bad = err
			}
		})
	}
	if bad == nil {
		return nil
	}
	hint := ""
	if near := field.Nearest(f.item.s); near != "" && near != f.item.s {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	return x.sc.problem(ErrValidate, f.at, len(f.item.s), fmt.Sprintf("'%s' is not a supported filter field", f.item.s), hint)
}

// condition returns the text of the rule's condition with its exceptions. It is only put together: lists and macros are still in it.
func (u *Rule) condition() (text, *Problem) {
	if len(u.exceptions) == 0 {
		return u.cond, nil
	}
	var b textBuilder
	b.insert("(", u.cond.place(0))
	b.addAll(&u.cond)
	b.insert(")", u.cond.place(len(u.cond.s)))
	for _, x := range u.exceptions {
		if err := x.write(&b); err != nil {
			return text{}, err
		}
	}
	return b.text(), nil
}

// write appends " and not (…)" for the values of x.
func (x *exception) write(b *textBuilder) *Problem {
	if len(x.values) == 0 {
		return nil
	}
	b.insert(" and not (", x.sc.at)
	if !x.fields.isList {
		b.addAll(&x.fields.item)
		b.insert(" "+x.comps.item.s+" (", x.comps.at)
	}
	for i, v := range x.values {
		var err *Problem
		if x.fields.isList {
			err = x.writeTuple(b, i, v)
		} else {
			err = x.writeItem(b, i, v)
		}
		if err != nil {
			return err
		}
	}
	if !x.fields.isList {
		b.insert(")", x.sc.at)
	}
	b.insert(")", x.sc.at)
	return nil
}

// writeItem appends the i-th value of an exception on a single field.
func (x *exception) writeItem(b *textBuilder, i int, v entry) *Problem {
	if v.isList {
		return x.sc.problem(ErrValidate, v.at, 1, "Expected values array to contain a list of strings", "")
	}
	if i > 0 {
		b.insert(", ", v.at)
	}
	addQuoted(b, &v.item)
	return nil
}

// writeTuple appends the i-th values of an exception on several fields.
func (x *exception) writeTuple(b *textBuilder, i int, tuple entry) *Problem {
	if len(x.fields.items) != len(tuple.items) {
		return x.sc.problem(ErrValidate, tuple.at, 1, "Fields and values lists must have equal length",
			fmt.Sprintf("the exception has %d fields and this entry %d values", len(x.fields.items), len(tuple.items)))
	}
	if i > 0 {
		b.insert(" or ", tuple.at)
	}
	b.insert("(", tuple.at)
	for k, f := range x.fields.items {
		if k > 0 {
			b.insert(" and ", tuple.at)
		}
		b.addAll(&f.item)
		comp := x.comps.items[k]
		b.insert(" "+comp.item.s+" ", comp.at)
		list, _ := operator(comp.item.s)
		switch v := tuple.items[k]; {
		case v.isList:
			b.insert("(", v.at)
			for n, item := range v.items {
				if n > 0 {
					b.insert(", ", item.at)
				}
				addQuoted(b, &item.item)
			}
			b.insert(")", v.at)
		case list && !strings.HasPrefix(v.item.s, "("):
			b.insert("(", v.at)
			b.addAll(&v.item)
			b.insert(")", v.at)
		case list:
			b.addAll(&v.item)
		default:
			addQuoted(b, &v.item)
		}
	}
	b.insert(")", tuple.at)
	return nil
}

// addQuoted appends t, in quotes if it has a blank in it and none around it.
func addQuoted(b *textBuilder, t *text) {
	quote := quoteFor(t.s)
	b.insert(quote, t.place(0))
	b.addAll(t)
	b.insert(quote, t.place(0))
}

// quoteFor returns the quotes that s needs to be one word of a condition. Only blanks call for them, as in Falco: what else is no word,
// such as a transformer, is meant as it stands.
func quoteFor(s string) string {
	switch {
	case s == "":
		return `"`
	case !strings.Contains(s, " ") || s[0] == '"' || s[0] == '\'':
		return ""
	case strings.Contains(s, `"`) && !strings.Contains(s, "'"):
		return "'"
	}
	return `"`
}
