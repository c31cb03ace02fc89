package testcase_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/testcase"
)

var update = flag.Bool("update", false, "rewrite the golden parts of functions/abi/testdata")

const conformance = "../../functions/abi/testdata"

// Our host does what the contract's cases say, the second time too.
func TestHostConforms(t *testing.T) {
	e := newEngine(t)
	files, err := filepath.Glob(conformance + "/host/*.txtar")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	modules := map[string]*sandbox.Module{}
	for _, file := range files {
		module, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".txtar"), "-")
		if modules[module] == nil {
			modules[module] = compileFile(t, e, filepath.Join(conformance, module+".wasm"))
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			c, err := testcase.Load(file, testcase.Defaults{})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				run, err := c.Run(t.Context(), modules[module], sandbox.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				if run.Fault != nil {
					run.Fault.Text = "" // it is ours, the kind is the contract's
				}
				if *update {
					c.Update(run)
					if err := c.Save(); err != nil {
						t.Fatal(err)
					}
					return
				}
				if err := c.Compare(run); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What the contract does not allow is refused before any event.
func TestRefused(t *testing.T) {
	e := newEngine(t)
	files, err := filepath.Glob(conformance + "/refused/*.wasm")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d modules, %v", len(files), err)
	}
	for _, file := range files {
		wasm, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Compile(t.Context(), wasm)
		if _, ok := errors.AsType[*sandbox.ModuleError](err); !ok {
			t.Errorf("%s: got %v, want a *ModuleError", filepath.Base(file), err)
		}
	}
}

func newEngine(t *testing.T) *sandbox.Engine {
	t.Helper()
	e, err := sandbox.New(sandbox.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func compileFile(t *testing.T, e *sandbox.Engine, file string) *sandbox.Module {
	t.Helper()
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Compile(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}
