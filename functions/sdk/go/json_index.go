package tiercel

import (
	"math/bits"
	"unicode/utf8"
	"unsafe"
)

// A document is JSON that is known to be well-formed, with an index of its values: reading it once is what an event costs, so going through
// it afterwards looks at no text but keys.
type document struct {
	text  string
	nodes []node // in the order they begin; a map's are its keys and values in turn
}

// A node is a value, or a map's key.
type node struct {
	start, end uint32 // of its JSON
	next       uint32 // the node after it and all that is in it
	what       uint32 // its Kind, and hasEscape
}

const (
	hasEscape = 1 << 8 // of a text
	nodeSize  = int(unsafe.Sizeof(node{}))
	none      = 1<<32 - 1

	maxDepth    = 128
	maxDocument = 1 << 30

	// pad is how many bytes behind a text that is indexed may be read. The first of them is 0, which no JSON holds: so it ends whatever goes
	// through the text, without a look at the text's length.
	pad = 8
)

// What an indexer stops at, or goes on from.
type stop uint8

const (
	stopFirst   stop = iota // a value begins
	stopMember              // a map's key begins
	stopKey                 // a map's key that is not all plain
	stopText                // a text that is not all plain
	stopOther               // a value that is neither a text, a map, an array nor a number without a fraction
	stopInvalid             // what is not JSON
	stopEnd                 // the end
)

// An indexer makes the index of a text in one go, but for what is rare in events: there it stops, and goes on behind it.
type indexer struct {
	base  unsafe.Pointer // the text, and pad bytes
	size  int
	nodes []node
	first int  // where the text or other value begins that it stopped in
	at    int  // where it stopped in that
	open  int  // the node of the array or map that it is in, whose next is the one around it meanwhile
	depth int  // of open
	inMap bool // open is a map
}

// index returns the nodes of a text that pad bytes follow, appended to nodes, and whether it is JSON in UTF-8.
func index(text []byte, nodes []node) ([]node, bool) {
	if len(text) > maxDocument {
		return nodes, false
	}
	x := indexer{base: unsafe.Pointer(unsafe.SliceData(text)), size: len(text), nodes: nodes, open: none}
	for at := stopFirst; ; {
		if len(x.nodes)+2 > cap(x.nodes) {
			more := make([]node, len(x.nodes), 2*cap(x.nodes)+16)
			copy(more, x.nodes)
			x.nodes = more
		}
		switch at = x.run(at); at {
		case stopKey, stopText:
			if !x.finishText() {
				return x.nodes, false
			}
		case stopOther:
			if !x.finishOther() {
				return x.nodes, false
			}
		case stopInvalid:
			return x.nodes, false
		case stopEnd:
			return x.nodes, x.at == x.size
		}
	}
}

func byteAt(p unsafe.Pointer, i int) byte   { return *(*byte)(unsafe.Add(p, i)) }
func wordAt(p unsafe.Pointer, i int) uint64 { return *(*uint64)(unsafe.Add(p, i)) }

// special returns a word whose lowest set bit is in the first byte of x, if there is one, that has a meaning in a JSON text: a quote, a
// backslash, a control character, or one that is not ASCII.
func special(x uint64) uint64 {
	return ((x - ones*' ') | ((x ^ ones*'"') - ones) | ((x ^ ones*'\\') - ones) | x) & highs
}

// run goes on from where it has stopped, and does so again where there is no room for two more nodes.
//
// It is one function without a call and with most jumps forwards: calls, and jumps back, are dear in Go's WebAssembly.
func (x *indexer) run(from stop) stop {
	var (
		base  = x.base
		nodes = unsafe.Pointer(unsafe.SliceData(x.nodes))
		n     = len(x.nodes)
		most  = cap(x.nodes) - 2
		i     = x.at
		open  = x.open
		inMap = x.inMap

		start  int
		found  uint64
		c      byte
		parent *node
	)
	switch from {
	case stopMember:
		goto member
	case stopKey:
		goto colon
	case stopText, stopOther:
		goto after
	}

value: // one begins here, behind white space; there is room
	for c = byteAt(base, i); c <= ' ' && isSpace(c); c = byteAt(base, i) {
		i++
	}
	if c == '"' {
		goto text
	}
	start = i
	switch {
	case c == '{':
		*(*node)(unsafe.Add(nodes, n*nodeSize)) = node{start: uint32(i), next: uint32(open), what: uint32(Map)}
		inMap = true
	case c == '[':
		*(*node)(unsafe.Add(nodes, n*nodeSize)) = node{start: uint32(i), next: uint32(open), what: uint32(Array)}
		inMap = false
	case c >= '1' && c <= '9':
		for i++; ; i++ {
			if c = byteAt(base, i); c < '0' || c > '9' {
				break
			}
		}
		if c == '.' || c|0x20 == 'e' {
			goto other
		}
		*(*node)(unsafe.Add(nodes, n*nodeSize)) = node{uint32(start), uint32(i), uint32(n + 1), uint32(Number)}
		n++
		goto after
	default:
		goto other
	}
	open = n
	n++
	i++
	if x.depth++; x.depth > maxDepth {
		return stopInvalid
	}
	for c = byteAt(base, i); c <= ' ' && isSpace(c); c = byteAt(base, i) {
		i++
	}
	if inMap {
		if c == '}' {
			goto closed
		}
		goto member
	}
	if c == ']' {
		goto closed
	}
	goto element

member:
	if n > most {
		from = stopMember
		goto stopped
	}
	for c = byteAt(base, i); c <= ' ' && isSpace(c); c = byteAt(base, i) {
		i++
	}
	if c != '"' {
		return stopInvalid
	}
	start = i
	i++
	for {
		if found = special(wordAt(base, i)); found != 0 {
			break
		}
		i += 8
		if found = special(wordAt(base, i)); found != 0 {
			break
		}
		i += 8
	}
	i += bits.TrailingZeros64(found) / 8
	if byteAt(base, i) != '"' {
		from = stopKey
		goto stopped
	}
	i++
	*(*node)(unsafe.Add(nodes, n*nodeSize)) = node{uint32(start), uint32(i), uint32(n + 1), uint32(Text)}
	n++
colon:
	for c = byteAt(base, i); c <= ' ' && isSpace(c); c = byteAt(base, i) {
		i++
	}
	if c != ':' {
		return stopInvalid
	}
	i++
	if byteAt(base, i) != '"' {
		goto value
	}
text:
	start = i
	i++
	for {
		if found = special(wordAt(base, i)); found != 0 {
			break
		}
		i += 8
		if found = special(wordAt(base, i)); found != 0 {
			break
		}
		i += 8
		if found = special(wordAt(base, i)); found != 0 {
			break
		}
		i += 8
		if found = special(wordAt(base, i)); found != 0 {
			break
		}
		i += 8
	}
	i += bits.TrailingZeros64(found) / 8
	if byteAt(base, i) != '"' {
		from = stopText
		goto stopped
	}
	i++
	*(*node)(unsafe.Add(nodes, n*nodeSize)) = node{uint32(start), uint32(i), uint32(n + 1), uint32(Text)}
	n++
after: // a value has ended
	for c = byteAt(base, i); c <= ' ' && isSpace(c); c = byteAt(base, i) {
		i++
	}
	if c == ',' && open != none {
		i++
		if inMap {
			goto member
		}
		goto element
	}
	if open == none {
		from = stopEnd
		goto stopped
	}
	if inMap && c != '}' || !inMap && c != ']' {
		return stopInvalid
	}
closed:
	i++
	x.depth--
	parent = (*node)(unsafe.Add(nodes, open*nodeSize))
	open = int(parent.next)
	parent.end, parent.next = uint32(i), uint32(n)
	inMap = open != none && (*node)(unsafe.Add(nodes, open*nodeSize)).what == uint32(Map)
	goto after

element:
	if n > most {
		from = stopFirst
		goto stopped
	}
	goto value

other:
	i, from = start, stopOther
stopped:
	x.first, x.at, x.open, x.inMap = start, i, open, inMap
	x.nodes = x.nodes[:n]
	return from
}

// finishText finishes the text at x.first, of which all before x.at is plain.
func (x *indexer) finishText() bool {
	s := unsafe.String((*byte)(x.base), x.size)
	what := uint32(Text)
	for i := x.at; ; i++ {
		if i = plainRun(s, i); i >= len(s) {
			return false
		}
		switch c := s[i]; {
		case c == '"':
			x.at = i + 1
			x.nodes = append(x.nodes, node{uint32(x.first), uint32(x.at), uint32(len(x.nodes) + 1), what})
			return true
		case c == '\\':
			what |= hasEscape
			if i = checkEscape(s, i+1); i < 0 {
				return false
			}
		case c < ' ':
			return false
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n < 2 {
				return false
			}
			i += n - 1
		}
	}
}

// finishOther finishes the value at x.at.
func (x *indexer) finishOther() bool {
	s := unsafe.String((*byte)(x.base), x.size)
	i, kind := x.at, Number
	switch {
	case i == len(s):
		return false
	case s[i] == 't':
		i, kind = checkWord(s, i, "true"), Boolean
	case s[i] == 'f':
		i, kind = checkWord(s, i, "false"), Boolean
	case s[i] == 'n':
		i, kind = checkWord(s, i, "null"), Null
	default:
		i = checkNumber(s, i)
	}
	if i < 0 {
		return false
	}
	x.nodes = append(x.nodes, node{uint32(x.at), uint32(i), uint32(len(x.nodes) + 1), uint32(kind)})
	x.at = i
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func checkWord(s string, i int, word string) int {
	if len(s)-i < len(word) || s[i:i+len(word)] != word {
		return -1
	}
	return i + len(word)
}

// checkEscape returns the index of the last byte of the escape whose letter is at i.
func checkEscape(s string, i int) int {
	if i >= len(s) {
		return -1
	}
	switch s[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i
	case 'u':
		if i+4 >= len(s) {
			return -1
		}
		for _, c := range []byte(s[i+1 : i+5]) {
			if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
				return -1
			}
		}
		return i + 4
	}
	return -1
}

func checkNumber(s string, i int) int {
	if i < len(s) && s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if i = digits(s, i); i < 0 {
		return -1
	}
	if i < len(s) && s[i] == '.' {
		if i = digits(s, i+1); i < 0 {
			return -1
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		return digits(s, i)
	}
	return i
}

// digits returns the index after the digits at i, of which there must be one.
func digits(s string, i int) int {
	start := i
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	if i == start {
		return -1
	}
	return i
}
