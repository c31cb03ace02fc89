package match

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unsafe"

	"github.com/tiercel-project/tiercel/rules/field"
)

// A scratch is the memory that a transformer puts its result in. What it handed out stays as it is until reset.
type scratch struct {
	buf  []byte
	args []*field.Value
}

func (s *scratch) reset() { s.buf = s.buf[:0] }

// string returns what was added to the buffer since start, without copying it.
func (s *scratch) string(start int) string {
	b := s.buf[start:]
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

// transform computes o from the values of its arguments, none of which is missing, and reports whether there is a result.
func (o *Operand) transform(args []*field.Value, s *scratch, out *field.Value) bool {
	first := args[0]
	switch o.fn {
	case callLen:
		if first.Kind == field.KindList {
			return out.SetUint(uint64(len(first.List)))
		}
		return out.SetUint(uint64(len(first.Str)))
	case callJoin:
		return join(first.Str, args[1], s, out)
	case callConcat:
		start := len(s.buf)
		for _, a := range args {
			s.buf = append(s.buf, a.Str...)
		}
		return out.SetString(s.string(start))
	case callGetopt:
		return o.getopt(first, args[1].Str, out)
	}
	if first.Kind != field.KindList {
		str, ok := o.mapString(first.Str, s)
		return ok && out.SetString(str)
	}
	out.SetList()
	for i := range first.List {
		str, ok := o.mapString(first.List[i].Str, s)
		if !ok {
			return false
		}
		out.AppendString(str)
	}
	return true
}

// mapString applies a transformer of one string to s.
func (o *Operand) mapString(str string, s *scratch) (string, bool) {
	start := len(s.buf)
	switch o.fn {
	case callToLower:
		s.buf = appendLower(s.buf, str)
	case callToUpper:
		for i := 0; i < len(str); i++ {
			s.buf = append(s.buf, upperByte(str[i]))
		}
	case callBasename:
		return str[strings.LastIndexByte(str, '/')+1:], true
	case callB64:
		var err error
		s.buf, err = base64.RawStdEncoding.AppendDecode(s.buf, unsafe.Slice(unsafe.StringData(str), len(strings.TrimRight(str, "="))))
		if err != nil {
			return "", false
		}
	}
	return s.string(start), true
}

func join(sep string, list *field.Value, s *scratch, out *field.Value) bool {
	start := len(s.buf)
	for i := range list.List {
		if i > 0 {
			s.buf = append(s.buf, sep...)
		}
		s.buf = appendText(s.buf, &list.List[i])
	}
	return out.SetString(s.string(start))
}

// appendText adds v as Falco prints it where no type of a field says more.
func appendText(dst []byte, v *field.Value) []byte {
	switch v.Kind {
	case field.KindString, field.KindBytes:
		return append(dst, v.Str...)
	case field.KindInt:
		return strconv.AppendInt(dst, int64(v.Num), 10)
	case field.KindUint:
		return strconv.AppendUint(dst, v.Num, 10)
	case field.KindBool:
		return strconv.AppendBool(dst, v.Num != 0)
	case field.KindFloat:
		f, _ := floatOf(v)
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	case field.KindAddr:
		return v.Addr.AppendTo(dst)
	case field.KindPrefix:
		return v.Prefix.AppendTo(dst)
	}
	return dst
}

// getopt reads the options of a command line as getopt(3) does. Without a key the result is the options found and their arguments, in order,
// with "?" for one that is unknown or lacks its argument. With a key it is the argument of the last option of that name: empty if it has
// none; no value if the option is not there.
func (o *Operand) getopt(list *field.Value, options string, out *field.Value) bool {
	g := getopt{options: strings.TrimPrefix(options, ":")}
	if list.Kind == field.KindList {
		g.args = list.List
	} else {
		g.text = list.Str
	}
	if o.List {
		out.SetList()
	}
	found := false
	for name, arg, what := g.next(); what != optEnd; name, arg, what = g.next() {
		switch {
		case o.List && (what == optUnknown || what == optNoArg):
			out.AppendString("?")
		case o.List:
			out.AppendString(name)
			if what == optArg {
				out.AppendString(arg)
			}
		case name == o.Key && what != optUnknown:
			found = out.SetString(arg)
		}
	}
	return o.List || found
}

// A getopt walks over arguments: a list, or a text whose blanks part them.
type getopt struct {
	options string
	args    []field.Value
	text    string
	cluster string // rest of an argument with several options
}

const (
	optEnd     = iota
	optFlag    // takes no argument
	optArg     // with its argument
	optNoArg   // its argument is missing
	optUnknown // not in options
)

// take returns the next argument.
func (g *getopt) take() (arg string, ok bool) {
	if len(g.args) > 0 {
		arg, g.args = g.args[0].Str, g.args[1:]
		return arg, true
	}
	g.text = strings.TrimLeft(g.text, " ")
	if g.text == "" {
		return "", false
	}
	arg, g.text, _ = strings.Cut(g.text, " ")
	return arg, true
}

// next returns the next option. The first argument that is none ends the options, and so does "--".
func (g *getopt) next() (name, arg string, what int) {
	if g.cluster == "" {
		word, ok := g.take()
		if !ok || len(word) < 2 || word[0] != '-' || word == "--" {
			return "", "", optEnd
		}
		g.cluster = word[1:]
	}
	name, g.cluster = g.cluster[:1], g.cluster[1:]
	at := strings.Index(g.options, name)
	switch {
	case at < 0 || name == ":":
		return name, "", optUnknown
	case !strings.HasPrefix(g.options[at+1:], ":"):
		return name, "", optFlag
	case g.cluster != "" || strings.HasPrefix(g.options[at+1:], "::"):
		arg, g.cluster = g.cluster, ""
		return name, arg, optArg
	}
	if arg, ok := g.take(); ok {
		return name, arg, optArg
	}
	return name, "", optNoArg
}
