package functions_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/builtin"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/testcase"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata")

// Every bundled responder, compiled and in the real sandbox, against its cases: <responder>/testdata/*.txtar.
func TestResponders(t *testing.T) {
	event, err := os.ReadFile("testdata/event.json")
	if err != nil {
		t.Fatal(err)
	}
	e, err := sandbox.New(sandbox.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, dir := range []string{"sdk/go", "abi"} {
		noteSources(dir)
	}
	for _, name := range builtin.Names() {
		noteSources(name)
		wasm, err := buildResponder(t, e, name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := e.Compile(t.Context(), wasm)
		if err != nil {
			t.Fatal(err)
		}
		files, _ := filepath.Glob(filepath.Join(name, "testdata", testcase.Pattern))
		if len(files) == 0 {
			t.Errorf("%s has no cases", name)
		}
		for _, file := range files {
			t.Run(name+"/"+strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
				c, err := testcase.Load(file, testcase.Defaults{Event: event})
				if err != nil {
					t.Fatal(err)
				}
				run, err := c.Run(t.Context(), m, sandbox.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				if *update {
					c.Update(run)
					err = c.Save()
				} else {
					err = c.Compare(run)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// buildResponder makes the module of a responder in Go or in JavaScript.
func buildResponder(t *testing.T, e *sandbox.Engine, name string) ([]byte, error) {
	t.Helper()
	file := filepath.Join(name, name+".js")
	source, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return functions.Build(t.Context(), name)
	}
	if err != nil {
		return nil, err
	}
	p, err := e.Pack(t.Context(), file, source)
	if err != nil {
		return nil, err
	}
	return p.Module, nil
}

// noteSources opens the Go files of a folder: go test keeps no result of a test whose files have changed, but does not see what the go
// command reads that the test starts.
func noteSources(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, file := range files {
		_, _ = os.ReadFile(file)
	}
}
