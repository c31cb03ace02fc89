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
	next       uint32 // the node after it and all that is in it; for a string, with hasEscape
}

const (
	hasEscape = 1 << 31
	none      = ^uint32(0)

	maxDepth    = 128
	maxDocument = 1 << 30
)

// An indexer goes through a document once. It is one function with jumps since calls and turns of loops are dear in Go's WebAssembly.
//
// index returns the nodes of s, appended to nodes, and whether s is JSON in UTF-8.
func index(s string, nodes []node) ([]node, bool) {
	var (
		i, start     int
		depth        int
		open         = none // the node of the array or map that i is in, whose next is the one around it meanwhile
		inMap, isKey bool
		escape       uint32
		c            byte
	)
	if len(s) > maxDocument {
		return nodes, false
	}
value: // one begins here, behind white space
	for i < len(s) && s[i] <= ' ' && isSpace(s[i]) {
		i++
	}
	if i >= len(s) {
		return nodes, false
	}
	start = i
	switch c = s[i]; c {
	case '"':
		isKey = false
		goto text
	case '{', '[':
		if depth++; depth > maxDepth {
			return nodes, false
		}
		nodes = append(nodes, node{start: uint32(i), next: open})
		open, inMap = uint32(len(nodes)-1), c == '{'
		i++
		for i < len(s) && s[i] <= ' ' && isSpace(s[i]) {
			i++
		}
		if i >= len(s) {
			return nodes, false
		}
		if s[i] == c+2 { // } and ] are two behind { and [
			goto closed
		}
		if inMap {
			goto key
		}
		goto value
	case 't':
		i = checkWord(s, i, "true")
	case 'f':
		i = checkWord(s, i, "false")
	case 'n':
		i = checkWord(s, i, "null")
	default:
		i = checkNumber(s, i)
	}
	if i < 0 {
		return nodes, false
	}
	nodes = append(nodes, node{uint32(start), uint32(i), uint32(len(nodes) + 1)})
	goto after
key:
	if i >= len(s) || s[i] != '"' {
		return nodes, false
	}
	start, isKey = i, true
text:
	escape = 0
	i++
	for {
		// Eight bytes a turn, to the first that has a meaning: a quote, a backslash, a control character, or one that is not ASCII.
		for i+8 <= len(s) {
			x := *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.StringData(s)), i))
			quote, backslash := x^(ones*'"'), x^(ones*'\\')
			if found := (((x - ones*' ') &^ x) | ((quote - ones) &^ quote) | ((backslash - ones) &^ backslash) | x) & highs; found != 0 {
				i += bits.TrailingZeros64(found) / 8
				break
			}
			i += 8
		}
		if i >= len(s) {
			return nodes, false
		}
		if c = s[i]; c == '"' {
			break
		}
		switch {
		case c == '\\':
			escape = hasEscape
			if i = checkEscape(s, i+1); i < 0 {
				return nodes, false
			}
		case c < ' ':
			return nodes, false
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n < 2 {
				return nodes, false
			}
			i += n - 1
		}
		i++
	}
	i++
	nodes = append(nodes, node{uint32(start), uint32(i), uint32(len(nodes)+1) | escape})
	if isKey {
		for i < len(s) && s[i] <= ' ' && isSpace(s[i]) {
			i++
		}
		if i >= len(s) || s[i] != ':' {
			return nodes, false
		}
		if i++; i < len(s) && s[i] == '"' {
			start, isKey = i, false
			goto text
		}
		goto value
	}
after: // a value has ended
	for i < len(s) && s[i] <= ' ' && isSpace(s[i]) {
		i++
	}
	if open == none {
		return nodes, i == len(s)
	}
	if i >= len(s) {
		return nodes, false
	}
	switch c = s[i]; {
	case c == ',':
		i++
		if !inMap {
			goto value
		}
		for i < len(s) && s[i] <= ' ' && isSpace(s[i]) {
			i++
		}
		goto key
	case c == '}' && inMap, c == ']' && !inMap:
		goto closed
	}
	return nodes, false
closed:
	i++
	depth--
	nodes[open].end = uint32(i)
	open, nodes[open].next = nodes[open].next, uint32(len(nodes))
	inMap = open != none && s[nodes[open].start] == '{'
	goto after
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
