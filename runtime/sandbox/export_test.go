package sandbox

import (
	"cmp"
	"maps"
	"slices"
	"testing"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// A HostFunction is one that guests may import.
type HostFunction struct {
	Module, Name string
	Type         wasm.FuncType
}

// HostFunctions returns all of them: those of the contract by name, then WASI's.
func HostFunctions() (all []HostFunction) {
	for _, of := range []struct {
		module string
		types  map[string]wasm.FuncType
	}{{abi.ImportModule, abiImports}, {wasiModule, wasiImports}} {
		from := len(all)
		for name, t := range maps.All(of.types) {
			all = append(all, HostFunction{of.module, name, t})
		}
		slices.SortFunc(all[from:], func(a, b HostFunction) int { return cmp.Compare(a.Name, b.Name) })
	}
	return all
}

// Rewritten is what a module is rewritten to.
func Rewritten(t testing.TB, bin []byte) []byte {
	t.Helper()
	r, err := rewrite(bin)
	if err != nil {
		t.Fatal(err)
	}
	return r.module
}

// TestCache is the folder that all tests of this package keep compiled modules in.
var TestCache string

// Differences compares every idle instance of m with the sealed state, fully, and returns how many there are and what differs.
func (m *Module) Differences() (instances int, diffs []string) {
	m.engine.pool.mu.Lock()
	defer m.engine.pool.mu.Unlock()
	for _, idle := range m.idle {
		for _, in := range idle.instances {
			instances++
			if string(in.memory.base[:in.memory.size]) != string(m.image.view) {
				diffs = append(diffs, "memory")
			}
			for i, g := range in.globals {
				if m.code.globals[i] != fuelGlobal(m) && g.Get() != m.globals[i] {
					diffs = append(diffs, m.code.globals[i])
				}
			}
		}
	}
	return instances, diffs
}

// fuelGlobal is the name under which the meter's own global is exported among the mutable ones: the last.
func fuelGlobal(m *Module) string { return m.code.globals[len(m.code.globals)-1] }

// waiting returns the instances of m that wait, of a size of memory.
func (m *Module) waiting(size int64) []*instance {
	if l := m.idle[size]; l != nil {
		return l.instances
	}
	return nil
}
