package wasm

import "fmt"

// Opcodes that the rewriter looks at or writes.
const (
	opUnreachable = 0x00
	opBlock       = 0x02
	opLoop        = 0x03
	opIf          = 0x04
	opEnd         = 0x0b
	opBr          = 0x0c
	opBrTable     = 0x0e
	opCall        = 0x10
	opLocalGet    = 0x20
	opLocalSet    = 0x21
	opLocalTee    = 0x22
	opGlobalGet   = 0x23
	opGlobalSet   = 0x24
	opMemoryGrow  = 0x40
	opI32Const    = 0x41
	opI64Const    = 0x42
	opI64LtS      = 0x53
	opI64ShrU     = 0x88
	opI64Sub      = 0x7d
	opI64ExtendU  = 0xad
	opRefFunc     = 0xd2
	opPrefixMisc  = 0xfc
	opPrefixSIMD  = 0xfd

	miscMemoryInit = 8
	miscMemoryCopy = 10
	miscMemoryFill = 11

	blockVoid = 0x40
	typeI32   = 0x7f
	typeI64   = 0x7e
)

// An instruction is one of a function's, by its place in the body.
type instruction struct {
	op         byte
	sub        uint32 // of the prefixed ones
	start, end int
	index      uint32 // immediate: of a function, local or global; of br, how many labels out
}

// instruction reads the instruction at r.p. Only those of WebAssembly 2.0 are known.
func (r *reader) instruction() instruction {
	in := instruction{start: r.p}
	in.op = r.byte()
	switch op := in.op; {
	case op == opBlock, op == opLoop, op == opIf:
		r.skipLEB()
	case op == opCall, op == opRefFunc, op == opBr, op >= opLocalGet && op <= opGlobalSet:
		in.index = r.u32()
	case op == 0x0d, op == 0x25, op == 0x26: // br_if, table.get, table.set
		r.skipLEB()
	case op == opBrTable:
		for n := uint64(r.u32()) + 1; n > 0 && r.err == nil; n-- {
			r.skipLEB()
		}
	case op == 0x11: // call_indirect
		r.skipLEB()
		r.skipLEB()
	case op == 0x1c: // select with types
		r.bytes(r.u32())
	case op >= 0x28 && op <= 0x3e: // loads and stores
		r.skipLEB()
		r.skipLEB()
	case op == 0x3f, op == opMemoryGrow, op == 0xd0, op == opI32Const, op == opI64Const:
		r.skipLEB()
	case op == 0x43: // f32.const
		r.bytes(4)
	case op == 0x44: // f64.const
		r.bytes(8)
	case op <= 0x01, op == 0x05, op == opEnd, op == 0x0f, op == 0x1a, op == 0x1b, op >= 0x45 && op <= 0xc4, op == 0xd1:
	case op == opPrefixMisc:
		in.sub = r.u32()
		r.misc(in.sub)
	case op == opPrefixSIMD:
		in.sub = r.u32()
		r.simd(in.sub)
	default:
		r.fail(fmt.Sprintf("instruction %#x is not one of WebAssembly 2.0,", op))
	}
	in.end = r.p
	return in
}

func (r *reader) misc(sub uint32) {
	switch {
	case sub <= 7: // saturating conversions
	case sub == 9, sub == miscMemoryFill, sub == 13, sub >= 15 && sub <= 17: // data.drop, elem.drop, table.grow, size, fill
		r.skipLEB()
	case sub == miscMemoryInit, sub == miscMemoryCopy, sub == 12, sub == 14: // table.init, table.copy
		r.skipLEB()
		r.skipLEB()
	default:
		r.fail(fmt.Sprintf("instruction 0xfc %d is not one of WebAssembly 2.0,", sub))
	}
}

func (r *reader) simd(sub uint32) {
	switch {
	case sub <= 11, sub == 92, sub == 93: // loads and stores
		r.skipLEB()
		r.skipLEB()
	case sub == 12, sub == 13: // v128.const, shuffle
		r.bytes(16)
	case sub >= 21 && sub <= 34: // lanes
		r.byte()
	case sub >= 84 && sub <= 91: // lane loads and stores
		r.skipLEB()
		r.skipLEB()
		r.byte()
	case sub > 255:
		r.fail(fmt.Sprintf("instruction 0xfd %d is not one of WebAssembly 2.0,", sub))
	}
}
