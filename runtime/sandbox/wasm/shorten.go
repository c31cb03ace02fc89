package wasm

// Go's compiler makes a function one loop around a br_table that goes to the block whose number is in a local (PC_B), and almost every
// jump one back to the head of that loop: the number is set, and br_table looks it up. Where the block begins further down, in
//
//	loop  block … block  local.get p  br_table …  end … end
//
// a br can go there at once. It does the same, and does not pass the loop's head, where steps are counted. Other compilers write no such
// loops.

// A label is an open block, loop or if, or the function's body.
type label struct {
	serial   uint32 // tells it from those that were opened before or after it
	block    bool   // a block without results
	dispatch *dispatch
}

// A dispatch is a loop that begins with a br_table over the blocks it is made of.
type dispatch struct {
	local   uint32
	targets []target // the last is the default
}

// A target is the label of a br_table's entry: its place among the open ones, and which it was.
type target struct{ at, serial uint32 }

// A dispatchState says how much of a dispatch has been seen up to now.
type dispatchState byte

const (
	noDispatch dispatchState = iota
	seenBlocks               // a loop and any number of blocks
	seenGet                  // and a local.get
)

// labels follows a function's labels, instruction by instruction.
type labels struct {
	body   []byte
	open   []label
	serial uint32
	state  dispatchState
	loop   int            // where the loop of state is among the open labels
	get    uint32         // what its local.get gets
	last   [2]instruction // the two before
}

// next takes an instruction. For a br that can go further it returns how many labels out that is.
func (l *labels) next(in instruction) (to uint32, shorter bool) {
	if l.open == nil {
		l.open = append(make([]label, 0, 64), label{})
	}
	state := noDispatch
	switch in.op {
	case opBlock, opLoop, opIf:
		l.serial++
		void := l.body[in.end-1] == blockVoid && in.end-in.start == 2
		l.open = append(l.open, label{serial: l.serial, block: void && in.op == opBlock})
		switch {
		case in.op == opLoop && void:
			state, l.loop = seenBlocks, len(l.open)-1
		case in.op == opBlock && void && l.state == seenBlocks:
			state = seenBlocks
		}
	case opLocalGet:
		if l.get = in.index; l.state == seenBlocks {
			state = seenGet
		}
	case opBrTable:
		if l.state == seenGet {
			l.open[l.loop].dispatch = l.table(in)
		}
	case opEnd:
		l.open = l.open[:len(l.open)-1]
	case opBr:
		to, shorter = l.shorten(in.index)
	}
	l.state = state
	l.last[0], l.last[1] = l.last[1], in
	return to, shorter
}

// table reads a br_table, of which every label is open. It returns nil if one is not.
func (l *labels) table(in instruction) *dispatch {
	r := &reader{b: l.body[:in.end], p: in.start + 1}
	d := &dispatch{local: l.get}
	for n := uint64(r.u32()) + 1; n > 0; n-- {
		out := r.u32()
		if r.err != nil || uint64(out) >= uint64(len(l.open)) {
			return nil
		}
		at := uint32(len(l.open)) - 1 - out
		d.targets = append(d.targets, target{at, l.open[at].serial})
	}
	return d
}

// shorten looks where a br of out labels goes in the end.
func (l *labels) shorten(out uint32) (to uint32, shorter bool) {
	number, set := l.last[0], l.last[1]
	if number.op != opI32Const || set.op != opLocalSet || uint64(out) >= uint64(len(l.open)) {
		return 0, false
	}
	d := l.open[len(l.open)-1-int(out)].dispatch
	if d == nil || d.local != set.index {
		return 0, false
	}
	r := &reader{b: l.body[:number.end], p: number.start + 1}
	n := r.u32()
	if r.err != nil || l.body[number.end-1]&0x40 != 0 { // negative
		return 0, false
	}
	t := d.targets[min(uint64(n), uint64(len(d.targets)-1))]
	if uint64(t.at) >= uint64(len(l.open)) || l.open[t.at].serial != t.serial || !l.open[t.at].block {
		return 0, false
	}
	return uint32(len(l.open)) - 1 - t.at, true
}
