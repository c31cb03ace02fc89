package filter

import "math/bits"

// NeededBits returns the place of a register argument, from 0, and bits of it, at least one of which is set in every call that f may keep, whatever
// else the call is: f's programs need not run for others. ok is false if there are none, and where all calls leave to be checked.
func (f *Filter) NeededBits(p *Plan) (arg int, mask uint32, ok bool) {
	if f.early == nil || p.opts.Shadow {
		return 0, 0, false
	}
	arg, wide, ok := f.early.neededBits()
	if mask = uint32(wide); !ok || uint64(mask) != wide {
		return 0, 0, false
	}
	return arg, mask, true
}

// neededBits returns an argument of which at least one of some bits is set where e is true.
func (e *Expr) neededBits() (arg int, mask uint64, ok bool) {
	switch e.Op {
	case And:
		for _, k := range e.Kids {
			if a, m, has := k.neededBits(); has && (!ok || bits.OnesCount64(m) < bits.OnesCount64(mask)) {
				arg, mask, ok = a, m, true
			}
		}
	case Or:
		for i, k := range e.Kids {
			a, m, has := k.neededBits()
			if !has || i > 0 && a != arg {
				return 0, 0, false
			}
			arg, mask, ok = a, mask|m, true
		}
	case Literal:
		if e.Not || e.Test.Kind != Bits || e.Test.Fact != Arg {
			return 0, 0, false
		}
		for _, m := range e.Test.Values {
			if m == 0 { // set in every call
				return 0, 0, false
			}
			mask |= m
		}
		return e.Test.Arg, mask, mask != 0
	}
	return arg, mask, ok
}
