package sandbox_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// What no compiler makes.
func TestAssembled(t *testing.T) {
	e := newEngine(t, 1)
	callImport := asmImport{"tiercel_v1", "call", wasm.FuncType{Params: i32 + i32 + i32 + i32 + i32 + i32, Results: i64}}
	for _, tt := range []struct {
		name string
		mod  func(*assembly)
		kind sandbox.Kind
		text string
	}{
		{"recursion", func(a *assembly) {
			a.funcs[0].code = code([]byte{opLocalGet, 0, opCall, 0}) // itself
		}, sandbox.FaultTrap, "stack overflow"},
		{"grows for ever", func(a *assembly) {
			a.funcs[0].code = code([]byte{opLoop, void}, constant(1), []byte{opMemoryGrow, 0, opDrop, opBr, 0, opEnd}, constant(0))
		}, sandbox.FaultDeadline, "200ms"},
		{"returns 7", func(a *assembly) { a.funcs[0].code = constant(7) }, sandbox.FaultGarbage, "tiercel_handle returned 7"},
		{"returns -1", func(a *assembly) { a.funcs[0].code = constant(-1) }, sandbox.FaultGarbage, "tiercel_handle returned -1"},
		{"result is not JSON", writes("{nonsense", 0), sandbox.FaultGarbage, `its result "{nonsense"`},
		{"result is another object", writes(`{"outcome":"reverted"}`, 0), sandbox.FaultGarbage, `outcome "reverted"`},
		{"result has unknown keys", writes(`{"outcome":"skipped","x":1}`, 0), sandbox.FaultGarbage, `unknown field "x"`},
		{"result is followed", writes(`{"outcome":"skipped"}{}`, 0), sandbox.FaultGarbage, "something follows"},
		{"result contradicts", writes(`{"outcome":"skipped"}`, 1), sandbox.FaultGarbage, `status 1 with outcome "skipped"`},
		{"result's data is no object", writes(`{"outcome":"skipped","data":[1]}`, 0), sandbox.FaultGarbage, "data is not an object"},
		{"calls during start", func(a *assembly) {
			a.imports = []asmImport{callImport}
			// traps unless the answer is an error
			a.funcs[0].code = constant(0)
			a.funcs = append(a.funcs, asmFunc{typ: nothing, code: code(constant(0), constant(6), constant(0), constant(0), constant(64), constant(100),
				[]byte{opCall, 0, 0x42, 32, 0x88, 0xa7, 0x04, void, 0x05, opUnreachable, opEnd})}) // i64.shr_u 32; i32.wrap; if else unreachable
			a.data, a.memory.Min = []byte("kv.get"), 1
			a.exports["tiercel_handle"], a.exports["_initialize"] = [2]int{0, 1}, [2]int{0, 2}
		}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := good()
			tt.mod(a)
			host := &answers{}
			inv := invocation(event("x"))
			if tt.kind == sandbox.FaultDeadline {
				inv.Limits.Timeout = spinTime
			}
			_, _, err := compile(t, e, a.bytes(t)).Handle(t.Context(), inv, host)
			if len(host.requests) > 0 {
				t.Errorf("the host was asked: %q", host.requests)
			}
			if tt.kind == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			fault, ok := errors.AsType[*sandbox.Fault](err)
			if !ok || fault.Kind != tt.kind || !strings.Contains(fault.Text, tt.text) {
				t.Errorf("got %v; want %s: %q", err, tt.kind, tt.text)
			}
		})
	}
	res, _, err := compile(t, e, good().bytes(t)).Handle(t.Context(), invocation(event("x")), &answers{})
	if err != nil || res.Outcome != abi.OutcomeSucceeded {
		t.Errorf("afterwards: %+v, %v", res, err)
	}
}

func TestInitialisation(t *testing.T) {
	e := newEngine(t, 1)
	sound := hostileModule(t, e)
	atStart := func(code []byte) func(*assembly) {
		return func(a *assembly) {
			a.funcs = append(a.funcs, asmFunc{typ: nothing, code: code})
			a.start = 1
		}
	}
	for _, tt := range []struct {
		name string
		mod  func(*assembly)
		want string
	}{
		{"start never returns", atStart(spin), "its initialisation: deadline: it ran longer than 10s"},
		{"start traps", atStart([]byte{opUnreachable}), "its initialisation: trap: wasm error: unreachable"},
		{"_initialize traps", func(a *assembly) {
			a.funcs = append(a.funcs, asmFunc{typ: nothing, code: []byte{opUnreachable}})
			a.exports["_initialize"] = [2]int{wasm.KindFunction, 1}
		}, "its initialisation: trap: wasm error: unreachable"},
		{"data outside", func(a *assembly) { a.memory.Min, a.data = 0, []byte("x") }, "1 bytes of data at 0x0 are outside its memory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := good()
			tt.mod(a)
			_, err := e.Compile(t.Context(), a.bytes(t))
			if _, ok := errors.AsType[*sandbox.ModuleError](err); !ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v; want %q", err, tt.want)
			}
			wellBehaved(t, sound)
		})
	}
}

// counter is a module whose _initialize adds 5 to a global, byte 0 of its memory and its memory's pages, and whose handler fails with
// status 8 if they do not hold what that makes of them, and changes them all again.
func counter() *assembly {
	a := good()
	a.globals = 1
	a.data = []byte{7}
	load, store := []byte{0x2d, 0, 0}, []byte{0x3a, 0, 0} // i32.load8_u, i32.store8
	add5 := code(
		[]byte{opGlobalGet, 0}, constant(5), []byte{opI32Add, opGlobalSet, 0},
		constant(0), constant(0), load, constant(5), []byte{opI32Add}, store,
		constant(5), []byte{opMemoryGrow, 0, opDrop},
	)
	differs := func(want int32) []byte { return code(constant(want), []byte{0x47}) } // i32.ne
	check := code([]byte{opGlobalGet, 0}, differs(5),
		constant(0), load, differs(12), []byte{0x72}, // i32.or
		[]byte{0x3f, 0}, differs(6), []byte{0x72}) // memory.size
	a.funcs = []asmFunc{
		{typ: handleType, code: code(check, []byte{opIf, 0x7f}, constant(8), []byte{0x05}, add5, constant(0), []byte{opEnd})},
		{typ: nothing, code: add5},
	}
	a.exports["_initialize"] = [2]int{wasm.KindFunction, 1}
	return a
}

const opIf = 0x04

// Every instance begins with the state after initialisation: memory, its size, globals. So does one whose tables keep it from being
// copied, which is initialised each time.
func TestFreshState(t *testing.T) {
	e := newEngine(t, 2)
	plain, mutating := counter(), counter()
	mutating.tables = []wasm.Limits{{Min: 1}}
	mutating.funcs = append(mutating.funcs, asmFunc{typ: nothing, code: code(constant(0), []byte{0xd0, 0x70, 0x26, 0})}) // ref.null func; table.set 0
	for name, a := range map[string]*assembly{"copied": plain, "initialised": mutating} {
		m := compile(t, e, a.bytes(t))
		for i := range 100 {
			if _, _, err := m.Handle(t.Context(), invocation(event("x")), &answers{}); err != nil {
				t.Fatalf("%s, event %d: %v", name, i, err)
			}
		}
		if err := errors.Join(m.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	}
}

// writes makes a module that writes text and returns status.
func writes(text string, status int32) func(*assembly) {
	return func(a *assembly) {
		a.imports = []asmImport{{"tiercel_v1", "output", wasm.FuncType{Params: i32 + i32}}}
		a.funcs[0].code = code(constant(0), constant(int32(len(text))), []byte{opCall, 0}, constant(status))
		a.data = []byte(text)
		a.exports["tiercel_handle"] = [2]int{wasm.KindFunction, 1}
	}
}

func TestFailedText(t *testing.T) {
	e := newEngine(t, 1)
	a := good()
	writes("it is not here\x07", 1)(a)
	res, _, err := compile(t, e, a.bytes(t)).Handle(t.Context(), invocation(event("x")), &answers{})
	if want := (abi.Result{Outcome: abi.OutcomeFailed, Text: "it is not here\uFFFD"}); err != nil || !cmp.Equal(want, res) {
		t.Errorf("got %+v, %v; want %+v", res, err, want)
	}
}
