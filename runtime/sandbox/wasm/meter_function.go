package wasm

import "fmt"

// A survey is what has to be known of a function before it is rewritten.
type survey struct {
	locals uint32  // parameters included: the indices of what is added begin here
	groups uint32  // declarations of locals
	decls  []byte  // these declarations
	code   int     // where the instructions begin
	costs  []int64 // of the function, then of each loop in the order of their beginnings
	bulk   bool    // has bulk memory operations
}

// survey reads a function's body.
func (m *meter) survey(body []byte, params uint32) (*survey, error) {
	r := &reader{b: body}
	s := &survey{locals: params, costs: []int64{0}}
	s.groups = r.u32()
	start := r.p
	for i := uint32(0); i < s.groups && r.err == nil; i++ {
		n := r.u32()
		if n > maxLocals-min(s.locals, maxLocals) {
			return nil, malformed("more than %d locals", maxLocals)
		}
		s.locals += n
		r.byte()
	}
	if r.err != nil {
		return nil, r.err
	}
	s.decls, s.code = body[start:r.p], r.p
	var open []int // for each open block, the loop it is in
	loop := 0      // index into costs
	for r.more() {
		in := r.instruction()
		if err := m.inRange(in, s.locals); err != nil {
			return nil, err
		}
		m.traits.note(in)
		s.costs[loop]++
		switch in.op {
		case opBlock, opIf:
			open = append(open, loop)
		case opLoop:
			open = append(open, loop)
			s.costs = append(s.costs, 1)
			loop = len(s.costs) - 1
		case opEnd:
			if n := len(open); n > 0 {
				loop, open = open[n-1], open[:n-1]
			} else if r.more() {
				return nil, malformed("code after the end")
			}
		case opMemoryGrow:
			s.costs[loop] += growCost
		case opPrefixMisc:
			s.bulk = s.bulk || isBulk(in)
		}
	}
	return s, r.err
}

const maxLocals = 50_000

// inRange refuses indices that are out of range now and would not be once something is added.
func (m *meter) inRange(in instruction, locals uint32) error {
	switch {
	case (in.op == opGlobalGet || in.op == opGlobalSet) && in.index >= m.globals:
		return fmt.Errorf("%w: global %d", ErrMeter, in.index)
	case in.op >= opLocalGet && in.op <= opLocalTee && in.index >= locals:
		return fmt.Errorf("%w: local %d", ErrMeter, in.index)
	}
	return nil
}

func isBulk(in instruction) bool {
	return in.op == opPrefixMisc && (in.sub == miscMemoryInit || in.sub == miscMemoryCopy || in.sub == miscMemoryFill)
}

// function appends the metered body of a function.
func (m *meter) function(dst, body []byte, params uint32) ([]byte, error) {
	s, err := m.survey(body, params)
	if err != nil {
		return nil, err
	}
	w := writer{meter: m, out: dst, left: uint64(s.locals), length: uint64(s.locals) + 1}
	added := []byte{1, typeI64}
	groups := s.groups + 1
	if s.bulk {
		added = append(added, 1, typeI32)
		groups++
	}
	w.out = appendU(w.out, uint64(groups))
	w.out = append(append(w.out, s.decls...), added...)
	w.charge(s.costs[0])
	loops := 0
	labels := labels{body: body}
	for r := (&reader{b: body, p: s.code}); r.more(); {
		in := r.instruction()
		to, shorter := labels.next(in)
		switch {
		case in.op == opCall || in.op == opRefFunc:
			w.out = appendU(append(w.out, in.op), m.shift(in.index))
			continue
		case shorter:
			w.op(opBr, uint64(to))
			continue
		case isBulk(in):
			w.chargeBulk()
		}
		w.out = append(w.out, body[in.start:in.end]...)
		if in.op == opLoop {
			loops++
			w.chargeTurn(s.costs[loops], takesNothing(body[in.start+1:in.end]))
		}
	}
	return w.out, nil
}

// takesNothing reports whether a block's type says so by itself: it has no values or one result, rather than the number of a type.
func takesNothing(blockType []byte) bool { return len(blockType) == 1 && blockType[0]&0x40 != 0 }

// A writer appends instructions.
type writer struct {
	meter  *meter
	out    []byte
	left   uint64 // the local that holds the fuel left
	length uint64 // the local that holds a bulk operation's length
}

func (w *writer) op(op byte, immediate uint64) { w.out = appendU(append(w.out, op), immediate) }

// charge takes cost from the fuel.
func (w *writer) charge(cost int64) {
	w.op(opGlobalGet, uint64(w.meter.globals))
	w.out = append(appendS(append(w.out, opI64Const), cost), opI64Sub)
	w.check()
}

// chargeTurn takes the cost of a loop's turn. Where the loop takes no values, the way back from the host goes to its head, where it is tried
// again: so what follows is reached in one way only, which the compiler makes better code of.
func (w *writer) chargeTurn(cost int64, again bool) {
	if !again {
		w.charge(cost)
		return
	}
	w.meter.traits.Checks++
	w.op(opGlobalGet, uint64(w.meter.globals))
	w.out = append(appendS(append(w.out, opI64Const), cost), opI64Sub)
	w.op(opLocalTee, w.left)
	w.out = append(w.out, opI64Const, 0, opI64LtS, opIf, blockVoid)
	w.op(opCall, uint64(w.meter.tick))
	w.op(opBr, 1)
	w.out = append(w.out, opEnd)
	w.op(opLocalGet, w.left)
	w.op(opGlobalSet, uint64(w.meter.globals))
}

// chargeBulk takes what the bulk operation that follows costs; its length is on top of the stack, and stays there.
func (w *writer) chargeBulk() {
	w.op(opLocalTee, w.length)
	w.op(opGlobalGet, uint64(w.meter.globals))
	w.op(opLocalGet, w.length)
	w.out = append(w.out, opI64ExtendU, opI64Const, bulkShift, opI64ShrU, opI64Sub)
	w.check()
}

// check stores the fuel that is on the stack and calls the host if it is below zero.
func (w *writer) check() {
	w.meter.traits.Checks++
	w.op(opLocalTee, w.left)
	w.op(opGlobalSet, uint64(w.meter.globals))
	w.op(opLocalGet, w.left)
	w.out = append(w.out, opI64Const, 0, opI64LtS, opIf, blockVoid)
	w.op(opCall, uint64(w.meter.tick))
	w.out = append(w.out, opEnd)
}
