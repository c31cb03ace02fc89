package match

import (
	"strings"

	"github.com/tiercel-project/tiercel/rules/filter"
)

// An access is a table from the strings that rules want a field to be, or to have in it, to those rules.
type access struct {
	slot     *slot
	all      bitset // all rules in it
	lengths  uint64
	equal    map[string]bitset
	prefixes *prefixTrie
	suffixes *prefixTrie // backwards
	inside   *automaton

	building acBuilder
}

// add puts rule i in, which wants a to hold.
func (x *access) add(a *Atom, i, words int) {
	x.all.set(i)
	for _, v := range a.Values {
		s := v.Bytes
		switch a.Op {
		case filter.StartsWith:
			x.prefixes = x.prefixes.add(s, false, words, i)
		case filter.PMatch: // by bytes, which finds all that pmatch does, and more
			x.prefixes = x.prefixes.add(cleanPrefix(s), false, words, i)
		case filter.EndsWith:
			x.suffixes = x.suffixes.add(s, true, words, i)
		case filter.Contains, filter.Glob, filter.Regex:
			x.building.add(requiredPart(a.Op, s), words).set(i)
		default:
			b, ok := x.equal[s]
			if !ok {
				b = make(bitset, words)
				x.equal[s] = b
			}
			b.set(i)
		}
	}
}

// requiredPart is a string that every value contains for which op holds with s.
func requiredPart(op filter.Op, s string) string {
	switch op {
	case filter.Glob:
		return globPart(s)
	case filter.Regex:
		if r, err := newRegex(s); err == nil {
			return r.literal
		}
		return ""
	}
	return s
}

// globPart is the longest run of ordinary characters of a pattern without brackets.
func globPart(pattern string) string {
	best := ""
	if strings.ContainsAny(pattern, `[\`) {
		return best
	}
	for _, run := range strings.FieldsFunc(pattern, func(r rune) bool { return r == '*' || r == '?' }) {
		if len(run) > len(best) {
			best = run
		}
	}
	return best
}

// cleanPrefix is what every path below path begins with: slashes may be doubled in either, so it ends at the first slash that matters.
func cleanPrefix(path string) string {
	name, rest := component(path)
	if name == "" || rest != "" && strings.Contains(path, "//") {
		return "/"
	}
	return strings.TrimRight(path, "/")
}

func (x *access) finish(words int) {
	for s := range x.equal {
		x.lengths |= lengthBit(len(s))
	}
	if len(x.building.nodes) > 0 {
		x.inside = x.building.build(words)
	}
	x.building = acBuilder{}
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
			break
		}
		t = t.find(s[i])
	}
	for i, t := len(s), x.suffixes; t != nil; {
		if t.rules != nil {
			to.or(t.rules)
		}
		if i--; i < 0 {
			break
		}
		t = t.find(s[i])
	}
	if x.inside != nil {
		x.inside.lookup(s, to)
	}
}

// A prefixTrie holds strings byte by byte, forwards or backwards.
type prefixTrie struct {
	rules bitset
	keys  []byte
	next  []*prefixTrie
}

// add puts in that rule i wants s, and returns t or a new trie if t is nil.
func (t *prefixTrie) add(s string, backwards bool, words, i int) *prefixTrie {
	if t == nil {
		t = &prefixTrie{}
	}
	at := t
	for k := range len(s) {
		c := s[k]
		if backwards {
			c = s[len(s)-1-k]
		}
		at = at.child(c)
	}
	if at.rules == nil {
		at.rules = make(bitset, words)
	}
	at.rules.set(i)
	return t
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
