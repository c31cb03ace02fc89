package match

import (
	"strings"

	"github.com/tiercel-project/tiercel/rules/filter"
)

// An access is a table from the strings that rules want a field to be, or to begin with, to those rules.
type access struct {
	slot     *slot
	all      bitset // all rules in it
	lengths  uint64
	equal    map[string]bitset
	prefixes *prefixTrie
}

// add puts rule i in, which wants a to hold.
func (x *access) add(a *Atom, i, words int) {
	x.all.set(i)
	for _, v := range a.Values {
		switch a.Op {
		case filter.StartsWith:
			x.prefix(v.Bytes, words).set(i)
		case filter.PMatch: // the table goes by bytes, which finds all that pmatch does, and more
			x.prefix(cleanPrefix(v.Bytes), words).set(i)
		default:
			b, ok := x.equal[v.Bytes]
			if !ok {
				b = make(bitset, words)
				x.equal[v.Bytes] = b
			}
			b.set(i)
		}
	}
}

// cleanPrefix is what every path below path begins with: slashes may be doubled in either, so it ends at the first slash that matters.
func cleanPrefix(path string) string {
	name, rest := component(path)
	if name == "" || rest != "" && strings.Contains(path, "//") {
		return "/"
	}
	return strings.TrimRight(path, "/")
}

func (x *access) prefix(s string, words int) bitset {
	if x.prefixes == nil {
		x.prefixes = &prefixTrie{}
	}
	t := x.prefixes
	for i := 0; i < len(s); i++ {
		t = t.child(s[i])
	}
	if t.rules == nil {
		t.rules = make(bitset, words)
	}
	return t.rules
}

func (x *access) finish() {
	for s := range x.equal {
		x.lengths |= lengthBit(len(s))
	}
}

// lookup adds the rules that want what s is.
func (x *access) lookup(s string, to bitset) {
	if x.lengths&lengthBit(len(s)) != 0 {
		if b, ok := x.equal[s]; ok {
			to.or(b)
		}
	}
	for i, t := 0, x.prefixes; t != nil; i++ {
		if t.rules != nil {
			to.or(t.rules)
		}
		if i == len(s) {
			return
		}
		t = t.find(s[i])
	}
}

// A prefixTrie holds strings byte by byte.
type prefixTrie struct {
	rules bitset
	keys  []byte
	next  []*prefixTrie
}

func (t *prefixTrie) find(c byte) *prefixTrie {
	for i, k := range t.keys {
		if k == c {
			return t.next[i]
		}
	}
	return nil
}

func (t *prefixTrie) child(c byte) *prefixTrie {
	if n := t.find(c); n != nil {
		return n
	}
	n := &prefixTrie{}
	t.keys, t.next = append(t.keys, c), append(t.next, n)
	return n
}
