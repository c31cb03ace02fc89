package sandbox_test

import (
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// An assembly is a module put together by hand: what no compiler would make.
type assembly struct {
	imports  []asmImport
	funcs    []asmFunc // after the imports, in the index space
	tables   []wasm.Limits
	memory   *wasm.Limits
	globals  int               // mutable i32 globals
	exports  map[string][2]int // name to kind and index
	start    int               // index of the start function; 0: none
	data     []byte            // at address 0
	manifest string            // empty: a good one; "-": none
}

type asmImport struct {
	module, name string
	typ          wasm.FuncType
}

type asmFunc struct {
	typ    wasm.FuncType
	locals int    // i32
	code   []byte // without the final end
}

const (
	i32 = "\x7f"
	i64 = "\x7e"

	opUnreachable = 0x00
	opLoop        = 0x03
	opBr          = 0x0c
	opEnd         = 0x0b
	opCall        = 0x10
	opDrop        = 0x1a
	opLocalGet    = 0x20
	opGlobalGet   = 0x23
	opGlobalSet   = 0x24
	opI32Const    = 0x41
	opI32Add      = 0x6a
	opMemoryGrow  = 0x40
	void          = 0x40
)

var (
	handleType = wasm.FuncType{Params: i32, Results: i32}
	nothing    = wasm.FuncType{}
)

// spin is code that never ends.
var spin = []byte{opLoop, void, opBr, 0, opEnd}

func constant(v int32) []byte { return sleb([]byte{opI32Const}, int64(v)) }

func code(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func uleb(b []byte, v int) []byte { return binary.AppendUvarint(b, uint64(v)) }

func sleb(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func name(b []byte, s string) []byte { return append(uleb(b, len(s)), s...) }

// good is a module that handles an event by returning 0.
func good() *assembly {
	return &assembly{
		funcs:   []asmFunc{{typ: handleType, code: constant(0)}},
		memory:  &wasm.Limits{Min: 1},
		exports: map[string][2]int{"tiercel_handle": {wasm.KindFunction, 0}, "memory": {wasm.KindMemory, 0}},
	}
}

func (a *assembly) bytes(t testing.TB) []byte {
	t.Helper()
	var types, imports, funcs, tables, memory, globals, exports, codes []byte
	n := 0
	typ := func(f wasm.FuncType) int {
		types = append(types, 0x60)
		types = name(name(types, f.Params), f.Results)
		n++
		return n - 1
	}
	for _, i := range a.imports {
		imports = uleb(append(name(name(imports, i.module), i.name), wasm.KindFunction), typ(i.typ))
	}
	for _, f := range a.funcs {
		funcs = uleb(funcs, typ(f.typ))
		body := []byte{0}
		if f.locals > 0 {
			body = append(uleb([]byte{1}, f.locals), 0x7f)
		}
		body = append(append(body, f.code...), opEnd)
		codes = append(uleb(codes, len(body)), body...)
	}
	limits := func(b []byte, l wasm.Limits) []byte {
		if l.HasMax {
			return uleb(uleb(append(b, 1), int(l.Min)), int(l.Max))
		}
		return uleb(append(b, 0), int(l.Min))
	}
	for _, l := range a.tables {
		tables = limits(append(tables, 0x70), l)
	}
	if a.memory != nil {
		memory = limits(nil, *a.memory)
	}
	for range a.globals {
		globals = append(globals, 0x7f, 1, opI32Const, 0, opEnd)
	}
	for _, n := range slices.Sorted(maps.Keys(a.exports)) {
		exports = uleb(append(name(exports, n), byte(a.exports[n][0])), a.exports[n][1])
	}
	var out []wasm.Section
	vec := func(id byte, n int, body []byte) {
		if n > 0 {
			out = append(out, wasm.Section{ID: id, Body: append(uleb(nil, n), body...)})
		}
	}
	vec(wasm.SectionType, n, types)
	vec(wasm.SectionImport, len(a.imports), imports)
	vec(wasm.SectionFunction, len(a.funcs), funcs)
	vec(wasm.SectionTable, len(a.tables), tables)
	if a.memory != nil {
		vec(wasm.SectionMemory, 1, memory)
	}
	vec(wasm.SectionGlobal, a.globals, globals)
	vec(wasm.SectionExport, len(a.exports), exports)
	if a.start > 0 {
		out = append(out, wasm.Section{ID: wasm.SectionStart, Body: uleb(nil, a.start)})
	}
	vec(wasm.SectionCode, len(a.funcs), codes)
	if a.data != nil {
		vec(wasm.SectionData, 1, name([]byte{0, opI32Const, 0, opEnd}, string(a.data)))
	}
	bin := wasm.Encode(out)
	switch a.manifest {
	case "-":
		return bin
	case "":
		a.manifest = `{"abi":"tiercel_v1","name":"assembled","version":"1","needs":{}}`
	}
	return section(t, bin, a.manifest)
}

// section appends a manifest; one that is not good goes in as it is.
func section(t testing.TB, bin []byte, m string) []byte {
	t.Helper()
	if out, err := manifest.Append(bin, []byte(m)); err == nil {
		return out
	}
	body := append(name(nil, "tiercel.manifest"), m...)
	return append(uleb(append(bin, 0), len(body)), body...)
}
