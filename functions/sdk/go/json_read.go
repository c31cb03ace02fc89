package tiercel

import (
	"errors"
	"iter"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// A Value is a JSON value within a document that is known to be well-formed. The zero Value is one that does not exist: everything
// asked of it is zero too, so a path may be followed without a check at each step.
type Value struct{ raw string }

// A Kind is the kind of a Value.
type Kind byte

// Kinds of values.
const (
	Missing Kind = iota
	Null
	Boolean
	Number
	Text
	Array
	Map
)

// ErrJSON is the error of a document that is not JSON.
var ErrJSON = errors.New("not JSON")

const maxDepth = 128

// ParseJSON checks a document and returns its value, which uses the memory of data: data must not change afterwards.
func ParseJSON(data []byte) (Value, error) {
	return parse(unsafe.String(unsafe.SliceData(data), len(data)))
}

func parse(s string) (Value, error) {
	start := skipSpace(s, 0)
	end := checkValue(s, start, 0)
	if end < 0 || skipSpace(s, end) != len(s) {
		return Value{}, ErrJSON
	}
	return Value{s[start:end]}, nil
}

// Kind returns the value's kind.
func (v Value) Kind() Kind {
	if v.raw == "" {
		return Missing
	}
	switch v.raw[0] {
	case 'n':
		return Null
	case 't', 'f':
		return Boolean
	case '"':
		return Text
	case '[':
		return Array
	case '{':
		return Map
	}
	return Number
}

// Exists reports whether there is such a value, other than null.
func (v Value) Exists() bool { return v.Kind() > Null }

// Raw returns the value as JSON, or "".
func (v Value) Raw() string { return v.raw }

// String returns a text's content, a number's or boolean's JSON, and "" for all else.
func (v Value) String() string {
	switch v.Kind() {
	case Text:
		return unquote(v.raw)
	case Number, Boolean:
		return v.raw
	}
	return ""
}

// Int returns a whole number within 64 bits, and 0 for all else.
func (v Value) Int() int64 {
	if v.Kind() != Number {
		return 0
	}
	n, err := strconv.ParseInt(v.raw, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Uint returns a whole number of up to 64 bits, written as a number or as a text of digits, and 0 for all else.
func (v Value) Uint() uint64 {
	n, err := strconv.ParseUint(v.String(), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Float returns a number, and 0 for all else.
func (v Value) Float() float64 {
	if v.Kind() != Number {
		return 0
	}
	f, _ := strconv.ParseFloat(v.raw, 64)
	return f
}

// Bool reports whether the value is true.
func (v Value) Bool() bool { return v.raw == "true" }

// Get follows the keys of maps. If a map has a key twice, the first counts.
func (v Value) Get(keys ...string) Value {
	for _, want := range keys {
		c := v.cursor()
		for c.next() {
			if c.key == want || c.escaped && unquote(c.key) == want {
				break
			}
		}
		v = c.value
	}
	return v
}

// Fields goes through the keys and values of a map.
func (v Value) Fields() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for c := v.cursor(); c.next(); {
			if !yield(c.name(), c.value) {
				return
			}
		}
	}
}

// A cursor goes through a map; a loop with one is cheaper than Fields.
type cursor struct {
	s       string
	at      int    // of the next key, or of the closing brace
	key     string // as it is written; with its quotes if escaped
	escaped bool
	value   Value
}

func (v Value) cursor() cursor {
	if v.Kind() != Map {
		return cursor{s: "}"}
	}
	return cursor{s: v.raw, at: skipSpace(v.raw, 1)}
}

// next goes to the next field and reports whether there is one; if not, value does not exist.
func (c *cursor) next() bool {
	s := c.s
	if s[c.at] == '}' {
		c.value = Value{}
		return false
	}
	end, escaped := skipString(s, c.at)
	if c.escaped = escaped; escaped {
		c.key = s[c.at:end]
	} else {
		c.key = s[c.at+1 : end-1]
	}
	start := skipSpace(s, skipSpace(s, end)+1) // past the colon
	end = skipValue(s, start)
	c.value = Value{s[start:end]}
	if c.at = skipSpace(s, end); s[c.at] == ',' {
		c.at = skipSpace(s, c.at+1)
	}
	return true
}

// name is the key's text.
func (c *cursor) name() string {
	if c.escaped {
		return unquote(c.key)
	}
	return c.key
}

// Items goes through an array.
func (v Value) Items() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind() != Array {
			return
		}
		s := v.raw
		for i := skipSpace(s, 1); s[i] != ']'; {
			end := skipValue(s, i)
			if !yield(Value{s[i:end]}) {
				return
			}
			if i = skipSpace(s, end); s[i] == ',' {
				i = skipSpace(s, i+1)
			}
		}
	}
}

// Strings returns an array's texts.
func (v Value) Strings() []string {
	var out []string
	for item := range v.Items() {
		if item.Kind() == Text {
			out = append(out, item.String())
		}
	}
	return out
}

// skipSpace returns the first index from i on that is not white space.
func skipSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t') {
		i++
	}
	return i
}

// skipString returns the index after the string that begins at i, of a checked document, and whether it has escapes.
func skipString(s string, i int) (end int, escaped bool) {
	for i++; ; i++ {
		i = plainRun(s, i)
		switch s[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			i++
		}
	}
}

// skipValue returns the index after the value that begins at i, of a checked document.
func skipValue(s string, i int) int {
	switch s[i] {
	case '"':
		end, _ := skipString(s, i)
		return end
	case '{', '[':
		for depth := 0; ; i++ {
			switch s[i] {
			case '"':
				end, _ := skipString(s, i)
				i = end - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for i < len(s) && s[i] > ' ' && s[i] != ',' && s[i] != '}' && s[i] != ']' {
		i++
	}
	return i
}

// unquote returns the content of a checked string with its quotes.
func unquote(q string) string {
	s := q[1 : len(q)-1]
	i := 0
	for i < len(s) && s[i] != '\\' {
		i++
	}
	if i == len(s) {
		return s
	}
	b := append(make([]byte, 0, len(s)), s[:i]...)
	for i < len(s) {
		if s[i] != '\\' {
			b = append(b, s[i])
			i++
			continue
		}
		switch c := s[i+1]; c {
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r := hex4(s[i+2:])
			i += 4
			if utf16.IsSurrogate(r) {
				pair := utf8.RuneError
				if i+8 <= len(s) && s[i+2] == '\\' && s[i+3] == 'u' {
					pair = utf16.DecodeRune(r, hex4(s[i+4:]))
				}
				if r = pair; r != utf8.RuneError {
					i += 6
				}
			}
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, c)
		}
		i += 2
	}
	return string(b)
}

// hex4 reads the four hexadecimal digits that a checked escape has.
func hex4(s string) rune {
	var r rune
	for i := range 4 {
		c := s[i] | 0x20
		if c >= 'a' {
			c -= 'a' - '9' - 1
		}
		r = r<<4 | rune(c-'0')
	}
	return r
}
