package wasm_test

import (
	"encoding/binary"
	"testing"

	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// A generator makes a module that type-checks and ends from any bytes. Its functions are run (i32) -> i32, which is index 0, and
// help (i32) -> i32; it has a table with help in it, a memory of a page, data, two mutable globals (i32, i64) and four i32 locals, beside
// those that loops and dispatches count in.
type generator struct {
	seed  []byte
	body  []byte
	depth int
	loops int

	dispatching bool
}

const helper = 1

// generate makes the module of a seed.
func generate(t testing.TB, seed []byte) []byte {
	t.Helper()
	g := &generator{seed: seed}
	g.statements(12)
	g.expression()
	return g.module()
}

// next returns the next choice below n; 0 when the seed is used up.
func (g *generator) next(n int) int {
	if len(g.seed) == 0 {
		return 0
	}
	c := int(g.seed[0]) % n
	g.seed = g.seed[1:]
	return c
}

func (g *generator) emit(b ...byte) { g.body = append(g.body, b...) }

// statements leave the stack as it is.
func (g *generator) statements(n int) {
	for ; n > 0 && len(g.seed) > 0; n-- {
		g.statement()
	}
}

func (g *generator) statement() {
	switch g.next(13) {
	case 0: // local.set
		g.expression()
		g.emit(0x21, byte(g.next(4)))
	case 1: // global.set
		g.expression()
		g.emit(0x24, 0)
	case 2: // the i64 global
		g.emit(0x23, 1)
		g.expression()
		g.emit(0xac, 0x7c, 0x24, 1) // extend_s, add
	case 3: // i32.store at an address that is within the memory, most of the time
		g.expression()
		g.emit(0x41, 0xff, 0xff, 3, 0x71) // and 0xffff
		g.expression()
		g.emit(0x36, 2, 0)
	case 4: // if
		if g.nested() {
			g.expression()
			g.emit(0x04, 0x40)
			g.statements(3)
			g.emit(0x05)
			g.statements(3)
			g.emit(0x0b)
			g.depth--
		}
	case 5: // a loop of a bounded number of turns, counted in a local of its own
		if g.loops < 2 && g.nested() {
			counter := byte(5 + g.loops)
			g.loops++
			g.emit(0x41, byte(1+g.next(5)), 0x21, counter, 0x03, 0x40)
			g.statements(3)
			g.emit(0x20, counter, 0x41, 1, 0x6b, 0x22, counter, 0x0d, 0, 0x0b)
			g.loops--
			g.depth--
		}
	case 6: // block with br_if out of it
		if g.nested() {
			g.emit(0x02, 0x40)
			g.statements(2)
			g.expression()
			g.emit(0x0d, 0)
			g.statements(2)
			g.emit(0x0b)
			g.depth--
		}
	case 7: // memory.fill of a small length
		g.small()
		g.expression()
		g.small()
		g.emit(0xfc, 11, 0)
	case 8: // memory.copy
		g.small()
		g.small()
		g.small()
		g.emit(0xfc, 10, 0, 0)
	case 9: // br_table out of blocks
		if g.nested() {
			g.emit(0x02, 0x40, 0x02, 0x40)
			g.expression()
			g.emit(0x0e, 1, 0, 1, 0x0b)
			g.statements(2)
			g.emit(0x0b)
			g.depth--
		}
	case 10: // memory.grow by one page
		g.emit(0x41, 1, 0x40, 0, 0x1a)
	case 11: // call
		g.expression()
		g.emit(0x10, helper, 0x1a)
	case 12:
		if !g.dispatching && g.nested() {
			g.dispatching = true
			g.dispatch()
			g.dispatching = false
			g.depth--
		}
	}
}

// dispatch writes a loop around a br_table as Go's compiler makes of a function: pieces of code, each with a jump to another one.
func (g *generator) dispatch() {
	const pc, turns, pieces = 7, 8, 4
	g.emit(0x41, byte(g.next(pieces+1)), 0x21, pc, 0x41, 6, 0x21, turns)
	g.emit(0x02, 0x40, 0x03, 0x40)
	for range pieces {
		g.emit(0x02, 0x40)
	}
	g.emit(0x20, pc, 0x0e, pieces, 0, 1, 2, 3, []byte{0, 1, 2, 3, pieces + 1}[g.next(5)]) // out of range may be out of the loop
	for i := range pieces {
		g.emit(0x0b)
		loop := byte(pieces - 1 - i) // how many labels out
		g.emit(0x20, turns, 0x41, 1, 0x6b, 0x22, turns, 0x45, 0x0d, loop+1)
		g.statements(2)
		g.expression()
		g.emit(0x04, 0x40, 0x41, []byte{0, 1, 2, 3, 4, 63, 0x7f}[g.next(7)], 0x21, pc, 0x0c, loop+1, 0x0b)
	}
	g.emit(0x0b, 0x0b)
}

func (g *generator) nested() bool {
	if g.depth >= 3 {
		return false
	}
	g.depth++
	return true
}

// small leaves a number below 4096.
func (g *generator) small() {
	g.expression()
	g.emit(0x41, 0xff, 0x1f, 0x71)
}

// expression leaves an i32.
func (g *generator) expression() {
	if g.depth > 5 {
		g.emit(0x20, 0)
		return
	}
	g.depth++
	defer func() { g.depth-- }()
	switch g.next(10) {
	case 0:
		g.emit(0x41, byte(g.next(64)))
	case 1:
		g.emit(0x20, byte(g.next(5)))
	case 2:
		g.emit(0x23, 0)
	case 3: // arithmetic, division with its traps among it
		g.expression()
		g.expression()
		g.emit(byte(0x6a + g.next(15)))
	case 4: // comparison
		g.expression()
		g.expression()
		g.emit(byte(0x46 + g.next(10)))
	case 5: // load
		g.expression()
		g.emit(0x41, 0xff, 0xff, 3, 0x71, 0x2d, 0, 0)
	case 6: // call
		g.expression()
		g.emit(0x10, helper)
	case 7: // call_indirect
		g.expression()
		g.emit(0x41, byte(g.next(3)), 0x11, 0, 0)
	case 8: // select
		g.expression()
		g.expression()
		g.expression()
		g.emit(0x1b)
	case 9:
		g.emit(0x3f, 0) // memory.size
	}
}

// module puts the body into a module.
func (g *generator) module() []byte {
	function := func(locals int, code []byte) []byte {
		b := append([]byte{1, byte(locals), 0x7f}, code...)
		b = append(b, 0x0b)
		return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
	}
	help := []byte{0x23, 0, 0x20, 0, 0x6a, 0x24, 0, 0x20, 0, 0x41, 3, 0x6c} // g0 += a; a * 3
	name := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	var exports []byte
	for _, e := range []struct {
		name        string
		kind, index byte
	}{{"run", 0, 0}, {"memory", 2, 0}, {"g0", 3, 0}, {"g1", 3, 1}} {
		exports = append(append(exports, name(e.name)...), e.kind, e.index)
	}
	codes := append([]byte{2}, function(8, g.body)...)
	codes = append(codes, function(1, help)...)
	return wasm.Encode([]wasm.Section{
		{ID: wasm.SectionType, Body: []byte{1, 0x60, 1, 0x7f, 1, 0x7f}},
		{ID: wasm.SectionFunction, Body: []byte{2, 0, 0}},
		{ID: wasm.SectionTable, Body: []byte{1, 0x70, 0, 2}},
		{ID: wasm.SectionMemory, Body: []byte{1, 1, 1, 4}},
		{ID: wasm.SectionGlobal, Body: []byte{2, 0x7f, 1, 0x41, 11, 0x0b, 0x7e, 1, 0x42, 13, 0x0b}},
		{ID: wasm.SectionExport, Body: append([]byte{4}, exports...)},
		{ID: wasm.SectionElement, Body: []byte{1, 0, 0x41, 1, 0x0b, 1, helper}},
		{ID: wasm.SectionCode, Body: codes},
		{ID: wasm.SectionData, Body: append([]byte{2, 0, 0x41, 16, 0x0b}, append(name("data of the module"), append([]byte{0, 0x41, 0x80, 0x10, 0x0b}, name("more")...)...)...)},
	})
}
