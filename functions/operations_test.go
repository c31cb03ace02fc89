//go:build sdk

package functions_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/testcase"
)

// Every operation that an SDK has a function for, asked for in each language: the requests are the same, and the answers come to the same.
// What -update writes is what the Go SDK asks for.
func TestOperations(t *testing.T) {
	usePackages(t)
	e, err := sandbox.New(sandbox.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	dir := filepath.Join("testdata", "operations")
	cases, err := filepath.Glob(filepath.Join(dir, "cases", testcase.Pattern))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, language := range []string{"go", "javascript", "c", "rust", "assemblyscript"} {
		t.Run(language, func(t *testing.T) {
			m := operationsIn(t, e, filepath.Join(dir, language))
			for _, file := range cases {
				name := strings.TrimSuffix(filepath.Base(file), ".txtar")
				if name == "clock" && slices.Contains([]string{"rust", "assemblyscript"}, language) {
					continue // these have neither clock nor random numbers without WASI, which their SDKs do not use
				}
				t.Run(name, func(t *testing.T) { performs(t, m, file, *update && language == "go") })
			}
		})
	}
}

func operationsIn(t *testing.T, e *sandbox.Engine, dir string) *sandbox.Module {
	t.Helper()
	if filepath.Base(dir) == "javascript" {
		return packed(t, filepath.Join(dir, "operations.js"))
	}
	wasm, err := functions.Build(t.Context(), dir)
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

func performs(t *testing.T, m *sandbox.Module, file string, update bool) {
	t.Helper()
	c, err := testcase.Load(file, testcase.Defaults{})
	if err != nil {
		t.Fatal(err)
	}
	run, err := c.Run(t.Context(), m, sandbox.Limits{})
	if err == nil && update {
		c.Update(run)
		err = c.Save()
	}
	if err == nil {
		err = c.Compare(run)
	}
	if err != nil {
		t.Error(err)
	}
}
