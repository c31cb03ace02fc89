package tiercel

import (
	"errors"
	"iter"
	"strconv"
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

// ParseJSON checks a document and returns its value, which uses the memory of data: data must not change afterwards.
func ParseJSON(data []byte) (Value, error) {
	d := newDocument()
	d.text = unsafe.String(unsafe.SliceData(data), len(data))
	nodes, ok := index(d.text, roomForNodes(len(data)))
	if !ok {
		return Value{}, ErrJSON
	}
	d.nodes = keepNodes(nodes)
	return Value{doc: d}, nil
}

// Kind returns the value's kind.
func (v Value) Kind() Kind {
	if v.doc == nil {
		return Missing
	}
	switch v.doc.text[v.doc.nodes[v.at].start] {
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
func (v Value) Exists() bool { return v.doc != nil && v.doc.text[v.doc.nodes[v.at].start] != 'n' }

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
	n := &v.doc.nodes[v.at]
	switch v.doc.text[n.start] {
	case '"':
		return v.doc.content(n)
	case 'n', '[', '{':
		return ""
	}
	return v.doc.text[n.start:n.end]
}

// content returns the text of a string.
func (d *document) content(n *node) string {
	if n.next&hasEscape != 0 {
		return unquote(d.text[n.start:n.end])
	}
	return d.text[n.start+1 : n.end-1]
}

// Int returns a whole number within 64 bits, and 0 for all else.
func (v Value) Int() int64 {
	if v.Kind() != Number {
		return 0
	}
	n, err := strconv.ParseInt(v.Raw(), 10, 64)
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
	f, _ := strconv.ParseFloat(v.Raw(), 64)
	return f
}

// Bool reports whether the value is true.
func (v Value) Bool() bool { return v.doc != nil && v.doc.text[v.doc.nodes[v.at].start] == 't' }

// Get follows the keys of maps. If a map has a key twice, the first counts.
func (v Value) Get(keys ...string) Value {
	for _, key := range keys {
		v = v.get(key)
	}
	return v
}

func (v Value) get(key string) Value {
	c := v.cursor('{')
	for c.more() {
		n := &c.doc.nodes[c.at]
		if int(n.end-n.start) == len(key)+2 || n.next&hasEscape != 0 {
			if c.doc.content(n) == key {
				return c.value()
			}
		}
		c.pastField()
	}
	return Value{}
}

// Fields goes through the keys and values of a map.
func (v Value) Fields() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for c := v.cursor('{'); c.more(); c.pastField() {
			if !yield(c.key(), c.value()) {
				return
			}
		}
	}
}

// Items goes through an array.
func (v Value) Items() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		for c := v.cursor('['); c.more(); c.at = c.doc.after(c.at) {
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

// cursor returns one at the first node in v, which must begin with open to have any.
func (v Value) cursor(open byte) cursor {
	if v.doc == nil {
		return cursor{}
	}
	n := &v.doc.nodes[v.at]
	if v.doc.text[n.start] != open {
		return cursor{}
	}
	return cursor{v.doc, v.at + 1, n.next}
}

func (c *cursor) more() bool { return c.at < c.end }

// key and value are the field's that a cursor of a map is at.
func (c *cursor) key() string  { return c.doc.content(&c.doc.nodes[c.at]) }
func (c *cursor) value() Value { return Value{c.doc, c.at + 1} }

// pastField goes from a key to the next one.
func (c *cursor) pastField() { c.at = c.doc.nodes[c.at+1].next &^ hasEscape }

func (d *document) after(at uint32) uint32 { return d.nodes[at].next &^ hasEscape }

// Strings returns an array's texts.
func (v Value) Strings() []string {
	var out []string
	for c := v.cursor('['); c.more(); c.at = c.doc.after(c.at) {
		n := &c.doc.nodes[c.at]
		if c.doc.text[n.start] == '"' {
			out = append(out, c.doc.content(n))
		}
	}
	return out
}
