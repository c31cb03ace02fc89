package match

import "slices"

// An automaton finds all of many strings in a text at once (Aho and Corasick 1975). State 0 is the root.
type automaton struct {
	class  [256]uint8 // of bytes that no state tells apart
	width  int32      // number of classes
	table  []int32    // dense transitions, state by class: 2*state, +1 if something ends there; nil if that were too many
	root   [256]int32 // transitions of the root; most of a text never leaves it
	states []acState
	edges  []acEdge // of all states, each state's together
	outs   []bitset
}

type acState struct {
	first, count int32 // its edges
	fail         int32 // state to go on with where no edge fits
	out          int32 // 1 + index into outs; 0: nothing ends here
}

type acEdge struct {
	c  byte
	to int32
}

// An acNode is a state while the automaton is made.
type acNode struct {
	next  []acEdge
	fail  int32
	rules bitset
}

// An acBuilder collects strings with the rules that want them.
type acBuilder struct{ nodes []acNode }

// add returns the set of rules that want s.
func (b *acBuilder) add(s string, words int) bitset {
	if len(b.nodes) == 0 {
		b.nodes = make([]acNode, 1)
	}
	at := int32(0)
	for i := 0; i < len(s); i++ {
		to := b.step(at, s[i])
		if to < 0 {
			to = int32(len(b.nodes))
			b.nodes[at].next = append(b.nodes[at].next, acEdge{s[i], to})
			b.nodes = append(b.nodes, acNode{})
		}
		at = to
	}
	if b.nodes[at].rules == nil {
		b.nodes[at].rules = make(bitset, words)
	}
	return b.nodes[at].rules
}

// step follows an edge; -1 if there is none.
func (b *acBuilder) step(at int32, c byte) int32 {
	for _, e := range b.nodes[at].next {
		if e.c == c {
			return e.to
		}
	}
	return -1
}

// build makes the automaton, breadth first: the fail state of a state is nearer to the root.
func (b *acBuilder) build(words int) *automaton {
	a := &automaton{states: make([]acState, len(b.nodes))}
	queue := []int32{0}
	for head := 0; head < len(queue); head++ {
		at := queue[head]
		for _, e := range b.nodes[at].next {
			b.link(at, e, words)
			queue = append(queue, e.to)
		}
	}
	for i := range b.nodes {
		n := &b.nodes[i]
		slices.SortFunc(n.next, func(x, y acEdge) int { return int(x.c) - int(y.c) })
		s := acState{first: int32(len(a.edges)), count: int32(len(n.next)), fail: n.fail}
		if n.rules != nil {
			a.outs = append(a.outs, n.rules)
			s.out = int32(len(a.outs))
		}
		a.edges = append(a.edges, n.next...)
		a.states[i] = s
	}
	for _, e := range b.nodes[0].next {
		a.root[e.c] = e.to
	}
	a.dense(queue)
	return a
}

// maxTable bounds the dense table of an automaton: 128 KiB.
const maxTable = 1 << 15

// dense makes the table, if it is not too large. order is the states breadth first.
func (a *automaton) dense(order []int32) {
	a.width = 1 // class 0: bytes that are in no string
	for _, e := range a.edges {
		if a.class[e.c] == 0 {
			if a.width == 256 {
				return
			}
			a.class[e.c] = uint8(a.width)
			a.width++
		}
	}
	if len(a.states)*int(a.width) > maxTable {
		return
	}
	a.table = make([]int32, len(a.states)*int(a.width))
	for _, at := range order {
		row := a.table[at*a.width : (at+1)*a.width]
		s := &a.states[at]
		if at != 0 {
			copy(row, a.table[s.fail*a.width:(s.fail+1)*a.width]) // the fail state is nearer to the root: its row is there
		}
		for _, e := range a.edges[s.first : s.first+s.count] {
			to := 2 * e.to
			if a.states[e.to].out != 0 {
				to++
			}
			row[a.class[e.c]] = to
		}
	}
}

// link sets the fail state of e.to, a child of at, and what ends there too.
func (b *acBuilder) link(at int32, e acEdge, words int) {
	fail := int32(0)
	for f := at; f != 0; {
		f = b.nodes[f].fail
		if to := b.step(f, e.c); to >= 0 {
			fail = to
			break
		}
	}
	n := &b.nodes[e.to]
	n.fail = fail
	if also := b.nodes[fail].rules; also != nil {
		if n.rules == nil {
			n.rules = make(bitset, words)
		}
		n.rules.or(also)
	}
}

// lookup adds the rules that want a string which is in s.
func (a *automaton) lookup(s string, to bitset) {
	if a.table != nil {
		a.lookupDense(s, to)
		return
	}
	at := int32(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if at == 0 {
			at = a.root[c]
		} else {
			at = a.next(at, c)
		}
		if at != 0 {
			if out := a.states[at].out; out != 0 {
				to.or(a.outs[out-1])
			}
		}
	}
}

func (a *automaton) lookupDense(s string, to bitset) {
	at := int32(0)
	for i := 0; i < len(s); i++ {
		at = a.table[(at>>1)*a.width+int32(a.class[s[i]])]
		if at&1 != 0 {
			to.or(a.outs[a.states[at>>1].out-1])
		}
	}
}

// next goes from a state that is not the root over c.
func (a *automaton) next(at int32, c byte) int32 {
	for at != 0 {
		s := &a.states[at]
		for _, e := range a.edges[s.first : s.first+s.count] {
			if e.c == c {
				return e.to
			}
		}
		at = s.fail
	}
	return a.root[c]
}
