package sandbox_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// What is not a function is refused, with what to change.
func TestRefusedModules(t *testing.T) {
	e := newEngine(t, 1)
	sound := hostileModule(t, e)
	from := func(change func(*assembly)) []byte {
		a := good()
		change(a)
		return a.bytes(t)
	}
	imports := func(module, name string, typ wasm.FuncType) func(*assembly) {
		return func(a *assembly) {
			a.imports = []asmImport{{module, name, typ}}
			a.exports["tiercel_handle"] = [2]int{wasm.KindFunction, 1}
		}
	}
	whole := good().bytes(t)
	for _, tt := range []struct {
		name string
		bin  []byte
		want string
	}{
		{"empty", nil, "it is empty: build it with: tiercel fn build"},
		{"text", []byte("package main"), `it is not WebAssembly (it begins with "package "): build it with`},
		{"program", []byte("\x7fELF\x02"), "it is a Linux program, not WebAssembly: build it with"},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), "it is a WebAssembly component: a function is a core module"},
		{"too large", make([]byte, abi.MaxModule+1), "33554433 bytes, more than 33554432: strip it"},
		{"cut short", whole[:len(whole)-3], "malformed WebAssembly module: end at byte"},
		{"command", from(func(a *assembly) { a.exports = map[string][2]int{"_start": {0, 0}, "memory": {2, 0}} }), "it is a command (it exports _start), not a reactor: build it with"},
		{"no handler", from(func(a *assembly) { delete(a.exports, "tiercel_handle") }), "it does not export tiercel_handle: call the SDK's Handle; build it with"},
		{"handler of another type", from(func(a *assembly) {
			a.funcs[0].typ = wasm.FuncType{Params: i64, Results: i32}
		}), "its export tiercel_handle is (i64) -> (i32): it must be (i32) -> (i32)"},
		{"handler is a memory", from(func(a *assembly) { a.exports["tiercel_handle"] = [2]int{wasm.KindMemory, 0} }), "its export tiercel_handle is a memory"},
		{"_initialize of another type", from(func(a *assembly) { a.exports["_initialize"] = [2]int{wasm.KindFunction, 0} }), "its export _initialize is (i32) -> (i32): it must be () -> ()"},
		{"no memory", from(func(a *assembly) { delete(a.exports, "memory") }), `it does not export its memory: export it as "memory"`},
		{"reserved export", from(func(a *assembly) { a.exports["__tiercel_fuel"] = [2]int{wasm.KindMemory, 0} }), `it exports "__tiercel_fuel": names that begin with __tiercel are the runtime's own`},
		{"another host's import", from(imports("env", "abort", nothing)), "it imports env.abort: only tiercel_v1 and wasi_snapshot_preview1 can be imported"},
		{"the meter's import", from(imports("tiercel_meter", "tick", nothing)), "it imports tiercel_meter.tick: only tiercel_v1"},
		{"unknown import", from(imports("tiercel_v1", "exec", nothing)), "it imports tiercel_v1.exec, which does not exist"},
		{"unknown WASI", from(imports("wasi_snapshot_preview1", "fd_fly", nothing)), "it imports wasi_snapshot_preview1.fd_fly, which does not exist"},
		{"import of another type", from(imports("tiercel_v1", "log", nothing)), "it imports tiercel_v1.log as () -> (): it is (i32, i32, i32) -> ()"},
		{"no manifest", from(func(a *assembly) { a.manifest = "-" }), "it has no manifest section: put a manifest.json beside the source"},
		{"bad manifest", from(func(a *assembly) { a.manifest = `{"abi":"tiercel_v9"}` }), `its manifest: abi: "tiercel_v9"; this runtime knows "tiercel_v1"`},
		{"huge memory", from(func(a *assembly) { a.memory.Min = 20_000 }), "its memory begins with 1250 MiB: it may begin with 256 MiB, and grow"},
		{"data beyond the memory", from(func(a *assembly) { a.data = make([]byte, 2<<20) }), "2097152 bytes of data at 0x0 are outside its memory"},
		{"50 MB", append(good().bytes(t), make([]byte, 50<<20)...), "more than 33554432: strip it"},
		{"segments without end", wasm.Encode([]wasm.Section{{ID: wasm.SectionData, Body: []byte{0xff, 0xff, 0xff, 0xff, 0x0f}}}), "it does not export tiercel_handle"},
		{"types without end", wasm.Encode([]wasm.Section{{ID: wasm.SectionType, Body: []byte{0xff, 0xff, 0xff, 0xff, 0x0f}}}), "4294967295 entries, more than 200000"},
		{"locals without end", from(func(a *assembly) { a.funcs[0].locals = math.MaxUint32 }), "more than 50000 locals"},
		{"more data segments than can be had", dataBomb(t, 200_001), "200001 entries, more than 200000"},
		{"huge table", from(func(a *assembly) { a.tables = []wasm.Limits{{Min: 1 << 27}} }), "it has 1 tables with 134217728 elements: at most 8 tables with 262144 elements can be had"},
		{"many tables", from(func(a *assembly) { a.tables = make([]wasm.Limits, 9) }), "it has 9 tables with 0 elements"},
		{"threads", from(func(a *assembly) { a.funcs[0].code = code([]byte{0xfe, 3, 0}, constant(0)) }), "instruction 0xfe is not one of WebAssembly 2.0, at byte"},
		{"fuel's own global", from(func(a *assembly) { a.funcs[0].code = code([]byte{opGlobalGet, 0, opDrop}, constant(0)) }), "function 0: index out of range: global 0"},
		{"meter's own local", from(func(a *assembly) { a.funcs[0].code = []byte{opLocalGet, 1, opDrop, opLocalGet, 0} }), "function 0: index out of range: local 1"},
		{"does not type-check", from(func(a *assembly) { a.funcs[0].code = []byte{opI32Add} }), "it is not a valid module"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := e.Compile(t.Context(), tt.bin)
			if _, ok := errors.AsType[*sandbox.ModuleError](err); !ok || m != nil {
				t.Fatalf("got %v, want a ModuleError", err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
			wellBehaved(t, sound)
			if tt.name == "does not type-check" { // only the compiler finds it
				return
			}
			if _, err := sandbox.Validate(tt.bin); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Validate: got %v", err)
			}
		})
	}
}

// dataBomb is a module with n segments of data, each over the last.
func dataBomb(t testing.TB, n int) []byte {
	t.Helper()
	body := uleb(nil, n)
	for range n {
		body = append(body, 0, opI32Const, 0, opEnd, 16)
		body = append(body, "0123456789abcdef"...)
	}
	return append(good().bytes(t), wasm.Encode([]wasm.Section{{ID: wasm.SectionData, Body: body}})[len(wasm.Header):]...)
}

// A module that is small and writes much of its memory, or the same of it over and over, before it has run a step takes what its memory
// is, and no more.
func TestDataBomb(t *testing.T) {
	e := newEngine(t, 1)
	sound := hostileModule(t, e)
	const large = abi.DefaultMemory
	full := good()
	full.memory.Min = large / wasm.PageSize
	full.funcs = append(full.funcs, asmFunc{typ: nothing, code: code( // memory.fill of all of it
		constant(0), constant(0x55), constant(large), []byte{0xfc, 11, 0})})
	full.start = 1
	for name, bin := range map[string][]byte{"data over data": dataBomb(t, 190_000), "all of its memory": full.bytes(t)} {
		m := compile(t, e, bin)
		inv := invocation(event("x"))
		inv.Limits.Memory = large
		if _, report, err := m.Handle(t.Context(), inv, &answers{}); err != nil || report.Memory > large {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
		wellBehaved(t, sound)
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// All that is wrong is said at once.
func TestRefusedModulesNameEverything(t *testing.T) {
	a := good()
	a.imports = []asmImport{{"env", "a", nothing}, {"env", "b", nothing}}
	a.exports = map[string][2]int{}
	a.manifest = "-"
	_, err := sandbox.Validate(a.bytes(t))
	for _, want := range []string{"env.a", "env.b", "tiercel_handle", "memory", "manifest"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}

// A table may not grow beyond its cap, whatever the module says: the host's memory holds it.
func TestTableGrowth(t *testing.T) {
	e := newEngine(t, 1)
	a := good()
	a.tables = []wasm.Limits{{Min: 1}}
	// returns 0 if table.grow by 40,000 gives -1
	a.funcs[0].code = code([]byte{0xd0, 0x70}, constant(40_000), []byte{0xfc, 15, 0}, constant(1), []byte{opI32Add})
	if _, _, err := compile(t, e, a.bytes(t)).Handle(t.Context(), invocation(event("x")), &answers{}); err != nil {
		t.Error(err)
	}
}

// A limit below what the module begins with is a fault, not a crash.
func TestMemoryLimitBelowTheModules(t *testing.T) {
	e := newEngine(t, 1)
	m := hostileModule(t, e)
	inv := invocation(event("calls"))
	inv.Limits.Memory = m.Memory() - 1
	_, _, err := m.Handle(t.Context(), inv, &answers{})
	if fault, ok := errors.AsType[*sandbox.Fault](err); !ok || fault.Kind != sandbox.FaultMemory {
		t.Errorf("got %v, want memory", err)
	}
	inv.Limits.Memory = m.Memory() // not a round number of anything, and no room to grow
	if _, _, err := m.Handle(t.Context(), inv, &answers{}); err != nil {
		if fault, ok := errors.AsType[*sandbox.Fault](err); !ok || fault.Kind != sandbox.FaultMemory {
			t.Errorf("got %v, want memory", err)
		}
	}
	wellBehaved(t, m)
}

func FuzzValidate(f *testing.F) {
	f.Add(good().bytes(f))
	f.Add(counter().bytes(f))
	f.Fuzz(func(t *testing.T, bin []byte) {
		_, err := sandbox.Validate(bin)
		if _, ok := errors.AsType[*sandbox.ModuleError](err); err != nil && !ok {
			t.Fatalf("got %v, want a ModuleError", err)
		}
	})
}
