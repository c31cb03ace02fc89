package sandbox_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// imported are the functions that FuzzArguments calls: all that the host has, input first.
var imported = func() (all []asmImport) {
	for _, f := range sandbox.HostFunctions() {
		i := asmImport{f.Module, f.Name, f.Type}
		if all = append(all, i); f.Name == abi.ImportInput {
			all[0], all[len(all)-1] = i, all[0]
		}
	}
	return all
}()

// caller makes a module whose handler reads up to nine numbers from the event and calls an import with as many as it takes.
func caller(t testing.TB, i asmImport) []byte {
	a := good()
	a.imports = []asmImport{i, imported[0]}
	if i.name == "input" {
		a.imports = a.imports[:1]
	}
	input := byte(len(a.imports) - 1)
	body := code(constant(0), constant(72), []byte{opCall, input, opDrop})
	for n, p := range []byte(i.typ.Params) {
		load := []byte{0x28, 2, byte(8 * n)} // i32.load
		if p == i64[0] {
			load = []byte{0x29, 3, byte(8 * n)}
		}
		body = code(body, constant(0), load)
	}
	body = code(body, []byte{opCall, 0})
	if i.typ.Results != "" {
		body = append(body, opDrop)
	}
	a.funcs[0].code = code(body, constant(0))
	a.exports["tiercel_handle"] = [2]int{wasm.KindFunction, len(a.imports)}
	return a.bytes(t)
}

// Whatever a guest hands to the host's functions, the invocation ends as a result or a fault, and what it asked of the host is bounded.
func FuzzArguments(f *testing.F) {
	for which := range imported {
		f.Add(uint(which), uint32(0), uint32(10), uint32(0), uint32(10), uint32(0), uint32(10))
		f.Add(uint(which), uint32(1), uint32(0), uint32(1), uint32(math.MaxUint32), uint32(math.MaxUint32), uint32(65535))
		f.Add(uint(which), uint32(math.MaxUint32), uint32(math.MaxUint32), uint32(1<<31), uint32(1<<31), uint32(65536), uint32(1))
		f.Add(uint(which), uint32(2), uint32(0), uint32(1000), uint32(8), uint32(8), uint32(8))
	}
	e := newEngine(f, 1)
	modules := make([]*sandbox.Module, len(imported))
	for i := range imported {
		modules[i] = compile(f, e, caller(f, imported[i]))
	}
	host := hostFunc(func(_ context.Context, op string, request []byte) ([]byte, error) {
		if len(op) > abi.MaxOpName || len(request) > abi.MaxRequest {
			f.Errorf("asked for %d bytes with %d bytes", len(op), len(request))
		}
		return []byte(`{"answer":true}`), nil
	})
	f.Fuzz(func(t *testing.T, which uint, a, b, c, d, x, y uint32) {
		var ev []byte
		for _, v := range []uint32{a, b, c, d, x, y, a ^ x, b ^ y, c} {
			ev = append(ev, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v), byte(v>>8), 0xff, 0xff)
		}
		res, report, err := modules[which%uint(len(modules))].Handle(t.Context(), sandbox.Invocation{Event: ev, Time: time.Unix(1, 0)}, host)
		_, isFault := errors.AsType[*sandbox.Fault](err)
		if err != nil && !isFault {
			t.Fatalf("%+v, %v", res, err)
		}
		if len(report.Log) > abi.DefaultLog || report.Calls > 1 {
			t.Fatalf("%d lines, %d calls", len(report.Log), report.Calls)
		}
	})
}
