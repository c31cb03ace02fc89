package tiercel

import (
	"errors"
	"iter"
	"math"
	"strconv"
	"strings"
	"unsafe"
)

// A Value is a JSON value within a document that is known to be well-formed. The zero Value is one that does not exist: everything
// asked of it is zero too, so a path may be followed without a check at each step.
type Value struct {
	doc *document // nil: it does not exist
	at  uint32    // the node
}

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

// ParseJSON checks a document and returns its value.
func ParseJSON(data []byte) (Value, error) {
	text := allocText(len(data))
	copy(text, data)
	return parse(text)
}

// parse is ParseJSON of a text that pad bytes follow, see allocText. The value uses its memory.
func parse(text []byte) (Value, error) {
	nodes, ok := index(text, roomForNodes(len(text)))
	if !ok {
		return Value{}, ErrJSON
	}
	d := newDocument()
	d.text, d.nodes = unsafe.String(unsafe.SliceData(text), len(text)), keepNodes(nodes)
	return Value{doc: d}, nil
}

// Kind returns the value's kind.
func (v Value) Kind() Kind {
	if v.doc == nil {
		return Missing
	}
	return Kind(v.doc.nodes[v.at].what)
}

// Exists reports whether there is such a value, other than null.
func (v Value) Exists() bool { return v.Kind() > Null }

// Raw returns the value as JSON, or "".
func (v Value) Raw() string {
	if v.doc == nil {
		return ""
	}
	n := &v.doc.nodes[v.at]
	return v.doc.text[n.start:n.end]
}

// String returns a text's content, a number's or boolean's JSON, and "" for all else.
func (v Value) String() string {
	if v.doc == nil {
		return ""
	}
	return v.doc.string(v.at)
}

// string is the String of a node.
func (d *document) string(at uint32) string {
	n := &d.nodes[at]
	if n.what == uint32(Text) {
		return d.inside(n)
	}
	return d.other(n)
}

// other is the String of a node that is not a text without escapes.
func (d *document) other(n *node) string {
	switch Kind(n.what) {
	case Text:
		return unquote(d.text[n.start:n.end])
	case Number, Boolean:
		return d.text[n.start:n.end]
	}
	return ""
}

// content returns the text of a string.
func (d *document) content(n *node) string {
	if n.what == uint32(Text) {
		return d.inside(n)
	}
	return d.other(n)
}

// inside returns what is between a string's quotes.
func (d *document) inside(n *node) string {
	return unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(unsafe.StringData(d.text)), n.start+1)), int(n.end-n.start-2))
}

// Int returns a whole number within 64 bits, and 0 for all else.
func (v Value) Int() int64 {
	if v.Kind() != Number {
		return 0
	}
	digits, negative := strings.CutPrefix(v.Raw(), "-")
	n := whole(digits)
	switch {
	case negative && n <= 1<<63:
		return -int64(n)
	case n < 1<<63:
		return int64(n)
	}
	return 0
}

// Uint returns a whole number of up to 64 bits, written as a number or as a text of digits, and 0 for all else.
func (v Value) Uint() uint64 { return whole(v.String()) }

// whole reads digits; it is 0 for all else, and for what has more than 64 bits.
func whole(s string) uint64 {
	var n uint64
	for i := range len(s) {
		digit := uint64(s[i] - '0')
		if digit > 9 || n > (math.MaxUint64-digit)/10 {
			return 0
		}
		n = n*10 + digit
	}
	return n
}

// Float returns a number, and 0 for all else.
func (v Value) Float() float64 {
	if v.Kind() != Number {
		return 0
	}
	f, _ := strconv.ParseFloat(v.Raw(), 64)
	return f
}

// Bool reports whether the value is true.
func (v Value) Bool() bool { return v.Kind() == Boolean && v.doc.text[v.doc.nodes[v.at].start] == 't' }

// Get follows the keys of maps. If a map has a key twice, the first counts.
func (v Value) Get(keys ...string) Value {
	for _, key := range keys {
		v = v.get(key)
	}
	return v
}

func (v Value) get(key string) Value {
	for c := v.cursor(Map); c.more(); c.pastField() {
		if n := &c.doc.nodes[c.at]; int(n.end-n.start) == len(key)+2 || n.what != uint32(Text) {
			if c.doc.content(n) == key {
				return c.value()
			}
		}
	}
	return Value{}
}

// Fields goes through the keys and values of a map.
func (v Value) Fields() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for c := v.cursor(Map); c.more(); c.pastField() {
			if !yield(c.key(), c.value()) {
				return
			}
		}
	}
}

// Items goes through an array.
func (v Value) Items() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		for c := v.cursor(Array); c.more(); c.at = c.doc.after(c.at) {
			if !yield(Value{c.doc, c.at}) {
				return
			}
		}
	}
}

// A cursor goes through the nodes of a map or array.
type cursor struct {
	doc     *document
	at, end uint32
}

// cursor returns one at the first node in v, which must be of that kind to have any.
func (v Value) cursor(kind Kind) cursor {
	if v.Kind() != kind {
		return cursor{}
	}
	return cursor{v.doc, v.at + 1, v.doc.nodes[v.at].next}
}

func (c *cursor) more() bool { return c.at < c.end }

// key and value are the field's that a cursor of a map is at.
func (c *cursor) key() string  { return c.doc.content(&c.doc.nodes[c.at]) }
func (c *cursor) value() Value { return Value{c.doc, c.at + 1} }

// next goes past a field, of which it returns the key, the value's String and the value. ok is false if there is none.
func (c *cursor) next() (key, text string, value Value, ok bool) {
	if c.at >= c.end {
		return "", "", Value{}, false
	}
	value = Value{c.doc, c.at + 1}
	n := &c.doc.nodes[c.at]
	if n.what == uint32(Text) {
		key = c.doc.inside(n)
	} else {
		key = c.doc.other(n)
	}
	n = &c.doc.nodes[c.at+1]
	if n.what == uint32(Text) {
		text = c.doc.inside(n)
	} else {
		text = c.doc.other(n)
	}
	c.at = n.next
	return key, text, value, true
}

// pastField goes from a key to the next one.
func (c *cursor) pastField() { c.at = c.doc.nodes[c.at+1].next }

func (d *document) after(at uint32) uint32 { return d.nodes[at].next }

// Strings returns an array's texts.
func (v Value) Strings() []string {
	var out []string
	for c := v.cursor(Array); c.more(); c.at = c.doc.after(c.at) {
		if n := &c.doc.nodes[c.at]; Kind(n.what) == Text {
			if out == nil {
				out = roomForTexts()
			}
			out = append(out, c.doc.content(n))
		}
	}
	return out
}
