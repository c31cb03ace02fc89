package filter

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/match"
	"github.com/tiercel-project/tiercel/sensor/extract"
)

// Bounds of what is compared; beyond, a comparison may be either.
const (
	maxRanges = 1024  // of numbers
	maxTexts  = 16384 // of paths in a trie
	maxErrnos = 16
	maxText   = 255 // of a path that the kernel side looks at, as TEXT_LEN in bpf/c/filter.h
	maxName   = 15  // of a process's name
	lastErrno = 4095
)

// literalOf makes an Expr of the atom a in events of type t; with not, of its negation. What the kernel cannot tell is true.
func literalOf(a *match.Atom, t field.EventType, not bool) *Expr {
	if a.Right != nil || a.Left.Kind != match.FieldOperand || a.Left.List {
		return always
	}
	switch is := nullOrConstant(a, t); is {
	case match.True, match.False:
		return constant(map[bool]Op{true: True, false: False}[(is == match.True) != not])
	}
	test := testOf(a, t)
	if test == nil {
		return always
	}
	test.text = atomText(a)
	if test.Kind == Class {
		return classLiteral(test, not)
	}
	return literal(test, not)
}

// atomText is a as a rule has it, with few of its values.
func atomText(a *match.Atom) string {
	const most = 3
	values := make([]string, 0, most)
	for i, v := range a.Values {
		if i == most {
			values = append(values, fmt.Sprintf("… (%d)", len(a.Values)))
			break
		}
		values = append(values, v.Text)
	}
	text := a.Left.String() + " " + a.Op.String()
	if len(values) > 0 {
		text += " " + strings.Join(values, ",")
	}
	return text
}

// nullOrConstant is what a always is in events of type t, or Check.
func nullOrConstant(a *match.Atom, t field.EventType) match.Kind {
	info := t.Info()
	isCall := info.Kind == field.Syscall || info.Kind == field.Generic
	var v field.Value
	switch a.Left.Ref.ID {
	case field.EvtDir:
		v.SetString("<")
	case field.EvtIsOpenRead, field.EvtIsOpenWrite:
		if takesFlags(t) {
			return match.Check
		}
		v.SetBool(false)
	case field.EvtIsOpenExec, field.EvtIsOpenCreate:
		if takesFlags(t) || t == field.EventCreat || t == field.EventOpenByHandleAt {
			return match.Check
		}
		v.SetBool(false)
	case field.FDNum, field.FDName, field.FDTypechar, field.FDType, field.FDDirectory, field.FDFilename, field.FDNameraw:
		if info.Flags&(field.CreatesFD|field.UsesFD|field.DestroysFD) == 0 {
			return match.False // null
		}
		return match.Check
	case field.EvtRes, field.EvtRawres, field.EvtFailed:
		if !isCall {
			return match.False
		}
		return match.Check
	default:
		if socketFields[a.Left.Ref.ID] && info.Flags&(field.CreatesFD|field.UsesFD|field.DestroysFD) == 0 {
			return match.False
		}
		return match.Check
	}
	if a.Holds(&v) {
		return match.True
	}
	return match.False
}

// takesFlags reports whether t opens a file by flags that rules see.
func takesFlags(t field.EventType) bool {
	return t == field.EventOpen || t == field.EventOpenat || t == field.EventOpenat2
}

// opens reports whether t is an open that the filter knows in full.
func opens(t field.EventType) bool { return takesFlags(t) || t == field.EventCreat }

// testOf makes a Test of the atom a in events of type t, or returns nil.
func testOf(a *match.Atom, t field.EventType) *Test {
	if hasSocket(t) {
		if test := socketTest(a, t); test != nil {
			return test
		}
	}
	if test := processTest(a, t); test != nil {
		return test
	}
	switch a.Left.Ref.ID {
	case field.EvtRes:
		return errnoTest(a)
	case field.EvtRawres:
		return number(a, &Test{Fact: Result})
	case field.EvtFailed:
		return errnoTest(a)
	case field.FDNum:
		if t.Info().Flags&field.CreatesFD != 0 {
			return number(a, &Test{Fact: FDNum})
		}
	case field.UserUID:
		return number(a, &Test{Fact: UID})
	case field.GroupGID:
		return number(a, &Test{Fact: GID})
	case field.UserLoginuid:
		return number(a, &Test{Fact: LoginUID})
	case field.ProcPID:
		return number(a, &Test{Fact: PID})
	case field.ThreadTID:
		return number(a, &Test{Fact: TID})
	case field.EvtIsOpenRead:
		return class(a, AccessMode, isBool(true, false, true, true))
	case field.EvtIsOpenWrite:
		return class(a, AccessMode, isBool(false, true, true, false))
	case field.EvtIsOpenExec:
		if t != field.EventOpenByHandleAt {
			return class(a, OpenExec, isBool(false, true))
		}
	case field.EvtIsOpenCreate:
		if takesFlags(t) {
			return class(a, Created, isBool(false, true))
		}
	case field.FDTypechar:
		if opens(t) {
			return class(a, OpenKind, isString("f", "f", "d"))
		}
	case field.FDType:
		if opens(t) {
			return class(a, OpenKind, []value{{null: true}, {v: str("file")}, {v: str("directory")}})
		}
	case field.ContainerID:
		return containerTest(a)
	case field.ProcName:
		return nameTest(a)
	case field.FDName, field.FDDirectory, field.FDFilename, field.FDNameraw:
		if opens(t) {
			return pathTest(a, map[field.ID]Subject{
				field.FDName: Opened, field.FDDirectory: Directory, field.FDFilename: Basename, field.FDNameraw: Raw,
			}[a.Left.Ref.ID])
		}
	case field.EvtArg, field.EvtRawarg:
		return argTest(a, t)
	}
	return nil
}

// A value is one of those that a class can have.
type value struct {
	v    field.Value
	null bool
}

func str(s string) field.Value { v := field.Value{}; v.SetString(s); return v }

func isBool(is ...bool) []value {
	out := make([]value, len(is))
	for i, b := range is {
		out[i].v.SetBool(b)
	}
	return out
}

func isString(is ...string) []value {
	out := make([]value, len(is))
	for i, s := range is {
		out[i].v = str(s)
	}
	return out
}

// class makes the test of a fact that is one of few. The value after the last stands for not known.
func class(a *match.Atom, f Fact, domain []value) *Test { return classOf(a, &Test{Fact: f}, domain) }

// classOf is class for a fact that needs more to be named.
func classOf(a *match.Atom, t *Test, domain []value) *Test {
	t.Kind, t.Exact = Class, true
	for i := range domain {
		if !domain[i].null && a.Holds(&domain[i].v) {
			t.May |= 1 << i
			continue
		}
		t.MayNot |= 1 << i
	}
	t.May |= 1 << len(domain)
	t.MayNot |= 1 << len(domain)
	return t.finish()
}

// classLiteral is literal for a class, constant if every value, or none, may make it true.
func classLiteral(test *Test, not bool) *Expr {
	mask, domain := test.May, test.May|test.MayNot
	if not {
		mask = test.MayNot
	}
	only := domain
	switch test.Fact {
	case AccessMode, OpenKind, Created, OpenExec, ExecFlag:
		only &^= 1 << (bits.Len64(domain) - 1) // in the end all of them are known
	}
	switch {
	case mask&only == only:
		return always
	case mask&only == 0:
		return never
	}
	return literal(test, not)
}

// containerTest is about the short id of the container: "host", or twelve digits which no condition knows beforehand.
func containerTest(a *match.Atom) *Test {
	host := str("host")
	t := &Test{Kind: Class, Fact: CgroupKind, May: 1, MayNot: 1}
	if a.Holds(&host) {
		t.May |= 1 << 1
	} else {
		t.MayNot |= 1 << 1
	}
	onlyHost := !slices.ContainsFunc(a.Values, func(v match.Literal) bool { return v.Bytes != "host" })
	switch {
	case onlyHost && a.Mod == 0 && (a.Op == filter.Equal || a.Op == filter.In || a.Op == filter.Intersects):
		t.MayNot |= 1 << 2
	case onlyHost && a.Mod == 0 && a.Op == filter.NotEqual, a.Op == filter.Exists:
		t.May |= 1 << 2
	default:
		t.May |= 1 << 2
		t.MayNot |= 1 << 2
	}
	return t.finish()
}

// number makes the test of a number that is always there.
func number(a *match.Atom, t *Test) *Test {
	if a.Mod != 0 && (a.Mod != filter.AnyOf || a.Op != filter.Equal) {
		return nil
	}
	t.Kind, t.Op, t.Exact = Number, a.Op, true
	switch a.Left.Type {
	case field.TypeInt16, field.TypeInt32, field.TypeInt64:
		t.Signed = true
	case field.TypeUint32, field.TypeUint64, field.TypePort:
	default:
		return nil
	}
	switch a.Op {
	case filter.Equal, filter.In, filter.Intersects:
		t.Op = filter.In
	case filter.NotEqual, filter.Less, filter.LessEqual, filter.Greater, filter.GreaterEqual:
	default:
		return nil
	}
	for _, v := range a.Values {
		t.Values = append(t.Values, v.Num)
	}
	if len(t.Values) == 0 {
		return nil
	}
	slices.Sort(t.Values)
	t.Values = slices.Compact(t.Values)
	if len(ranges(t.Values)) > maxRanges {
		return nil
	}
	return t.finish()
}

// errnoTest is about what evt.res and evt.failed make of a result: each is tried.
func errnoTest(a *match.Atom) *Test {
	holds := func(result int64) bool {
		var v field.Value
		switch {
		case a.Left.Ref.ID == field.EvtFailed:
			v.SetBool(result < 0)
		case result >= 0:
			v.SetString("SUCCESS")
		default:
			v.SetString(extract.ErrnoName(result))
		}
		return a.Holds(&v)
	}
	t := &Test{Kind: Errno, Fact: Result, Exact: true, Success: holds(0)}
	var yes, no []uint64
	for n := int64(1); n <= lastErrno; n++ {
		if holds(-n) {
			yes = append(yes, uint64(-n))
		} else {
			no = append(no, uint64(-n))
		}
	}
	switch {
	case len(yes) <= maxErrnos:
		t.Values = yes
	case len(no) <= maxErrnos:
		t.Values, t.Others = no, true
	default:
		return nil
	}
	return t.finish()
}

// nameTest is about the process's name, which is no longer than the kernel's.
func nameTest(a *match.Atom) *Test {
	if a.Mod != 0 && (a.Mod != filter.AnyOf || a.Op != filter.Equal) {
		return nil
	}
	t := &Test{Kind: Names, Fact: Name, Op: filter.In, Exact: true}
	switch a.Op {
	case filter.Equal, filter.In, filter.Intersects:
	case filter.NotEqual:
		t.Op = filter.NotEqual
	default:
		return nameTextTest(a)
	}
	for _, v := range a.Values {
		if s := v.Bytes; s != "" && len(s) <= maxName {
			t.Strings = append(t.Strings, s)
		}
	}
	return t.finish()
}

// nameTextTest is about a part of the process's name.
func nameTextTest(a *match.Atom) *Test {
	if a.Mod != 0 {
		return nil
	}
	t := &Test{Kind: NameText, Fact: Name, Strings: []string{a.Values[0].Bytes}}
	switch a.Op {
	case filter.StartsWith:
		t.Op, t.Exact = filter.StartsWith, true
		if len(t.Strings[0]) > maxName {
			return nil
		}
	case filter.Contains, filter.EndsWith:
		t.Op = filter.Contains
	case filter.IContains:
		t.Op = filter.IContains
	case filter.Glob, filter.IGlob:
		t = patternTest(t, a.Op)
	case filter.Regex:
		t = regexTest(t)
	default:
		return nil
	}
	switch {
	case t == nil:
		return nil
	case t.Op == filter.EndsWith:
		t.Op = filter.Contains
	}
	if t.Op != filter.StartsWith && len(t.Strings[0]) < 2 {
		return nil
	}
	return t.finish()
}

// pathTest is about a path or a part of it.
func pathTest(a *match.Atom, s Subject) *Test {
	t := &Test{Kind: Path, Fact: Text, Subject: s, Op: a.Op}
	if a.Mod != 0 && (a.Mod != filter.AnyOf || a.Op != filter.Equal) || len(a.Values) > maxTexts || len(a.Values) == 0 {
		return nil
	}
	for _, v := range a.Values {
		t.Strings = append(t.Strings, v.Bytes)
	}
	if len(t.Strings) > straightTexts && (s == Basename || s == Raw) {
		return nil // these do not stand where a trie's key would
	}
	switch a.Op {
	case filter.Equal, filter.In, filter.Intersects:
		t.Op, t.Exact = filter.In, true
	case filter.NotEqual, filter.StartsWith, filter.EndsWith:
		t.Exact = true
	case filter.PMatch:
		t.Exact = !slices.ContainsFunc(t.Strings, func(v string) bool { return !plainPath(v) })
		if !t.Exact {
			return nil
		}
	case filter.Contains, filter.IContains:
	case filter.Glob, filter.IGlob:
		t = patternTest(t, a.Op)
	case filter.Regex:
		t = regexTest(t)
	default:
		return nil
	}
	switch {
	case t == nil, (t.Op == filter.Contains || t.Op == filter.IContains) && len(t.Strings[0]) < 2:
		return nil
	case s == Raw && t.Op != filter.Contains && t.Op != filter.IContains:
		return nil // rules see it with runs of slashes made one
	}
	return t.finish()
}

// plainPath reports whether pmatch compares p byte by byte with a clean path.
func plainPath(p string) bool {
	return len(p) > 1 && len(p) <= maxText && p[0] == '/' && !strings.HasSuffix(p, "/") && !strings.Contains(p, "//") && !strings.ContainsAny(p, `*?[\`)
}

// argTest is about an argument of the call.
func argTest(a *match.Atom, t field.EventType) *Test {
	ref := &a.Left.Ref
	params := t.Info().Params
	i := ref.Index
	if i < 0 {
		i = slices.IndexFunc(params, func(p field.Param) bool { return p.Name == ref.Arg })
	}
	if i < 0 || i >= len(params) {
		return nil
	}
	p := &params[i]
	if s := pathArgs[t][p.Name]; s != 0 {
		if ref.ID == field.EvtArg {
			return pathTest(a, s)
		}
		return nil
	}
	where, ok := numberArgs[t][p.Name]
	if !ok {
		return nil
	}
	test := &Test{Fact: Arg, Arg: where.arg, Width: where.width}
	if ref.ID == field.EvtRawarg {
		if where.open {
			return nil // Falco's bits, not the kernel's
		}
		return number(a, test)
	}
	return namedTest(a, p, test, where.open)
}

// namedTest is about the names of a number: of an enumeration, or of flags.
func namedTest(a *match.Atom, p *field.Param, t *Test, open bool) *Test {
	names := extract.NamesOf(p)
	switch p.Type {
	case field.ParamEnum8, field.ParamEnum16, field.ParamEnum32:
		return enumTest(a, names, t)
	case field.ParamFlags8, field.ParamFlags16, field.ParamFlags32, field.ParamMode:
		if a.Op == filter.Contains && a.Mod == 0 {
			return flagTest(a, names, t, open)
		}
	}
	return nil
}

// enumTest tries each of the names. A number without a name is given in digits.
func enumTest(a *match.Atom, names []extract.NamedValue, t *Test) *Test {
	for _, v := range a.Values {
		if strings.ContainsAny(v.Bytes, "0123456789") || v.Bytes == "" {
			return nil
		}
	}
	switch a.Op {
	case filter.Equal, filter.In, filter.Contains, filter.StartsWith, filter.EndsWith:
	default:
		return nil
	}
	if a.Mod != 0 && a.Mod != filter.AnyOf {
		return nil
	}
	seen := map[uint64]bool{}
	for _, n := range names {
		if seen[n.Value] {
			continue // the first name is the one
		}
		seen[n.Value] = true
		if v := str(n.Name); a.Holds(&v) {
			t.Values = append(t.Values, n.Value)
		}
	}
	slices.Sort(t.Values)
	t.Kind, t.Op, t.Exact = Number, filter.In, true
	return t.finish()
}

// flagTest is about whether the names of flags contain a text: one of the flags whose names do must be set.
func flagTest(a *match.Atom, names []extract.NamedValue, t *Test, open bool) *Test {
	text := a.Values[0].Bytes
	if text == "" || strings.ContainsAny(text, "|0123456789") {
		return nil
	}
	for _, n := range names {
		if !strings.Contains(n.Name, text) {
			continue
		}
		v := n.Value
		if open {
			kernel, ok := extract.OpenFlag(v)
			if !ok {
				return nil
			}
			v = uint64(kernel)
			for v != 0 { // one of the kernel's bits is enough
				t.Values = append(t.Values, v&-v)
				v &= v - 1
			}
			continue
		}
		if v == 0 {
			return nil
		}
		t.Values = append(t.Values, v)
	}
	t.Kind = Bits
	slices.Sort(t.Values)
	t.Values = slices.Compact(t.Values)
	return t.finish()
}
