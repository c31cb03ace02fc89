package functions_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// A new function builds, passes its own test and runs, without anything from elsewhere.
func TestNewFunction(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "my-responder")
	files, err := functions.WriteTemplate(dir, "my-responder", "go")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{".gitignore", "function.yaml", "go.mod", "main.go", "main_test.go", "manifest.json"}; !slices.Equal(files, want) {
		t.Errorf("wrote %q, want %q", files, want)
	}
	test := exec.Command("go", "test", "./...")
	test.Dir = dir
	test.Env = append(os.Environ(), "GOPROXY=off", "GOWORK=off", "GOFLAGS=-mod=mod")
	if out, err := test.CombinedOutput(); err != nil {
		t.Errorf("its test: %v\n%s", err, out)
	}
	t.Setenv("GOPROXY", "off")
	wasm, err := functions.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	e, err := sandbox.New(sandbox.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	m, err := e.Compile(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	if m.Manifest().Name != "my-responder" {
		t.Errorf("manifest %+v", m.Manifest())
	}
	res, _, err := m.Handle(t.Context(), sandbox.Invocation{Event: []byte(`{"id":"x","data":{}}`)}, noHost{})
	if err != nil || res.Outcome != abi.OutcomeSkipped {
		t.Errorf("an event without a pod: %+v, %v", res, err)
	}
}

type noHost struct{}

func (noHost) Call(_ context.Context, op string, _ []byte) ([]byte, error) {
	return nil, abi.NewError(abi.CodeUnsupported, op)
}

func TestWriteTemplateRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		dir, name, lang string
		want            error
	}{
		{full, "f", "go", functions.ErrNotEmpty},
		{t.TempDir(), "f", "cobol", functions.ErrLanguage},
		{t.TempDir(), "Not-A-Name", "go", functions.ErrName},
		{t.TempDir(), "../x", "go", functions.ErrName},
	} {
		if _, err := functions.WriteTemplate(tt.dir, tt.name, tt.lang); !errors.Is(err, tt.want) {
			t.Errorf("%s %s: got %v, want %v", tt.name, tt.lang, err, tt.want)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := functions.Build(t.Context(), dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no manifest: %v", err)
	}
	write := func(file, text string) {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("manifest.json", "{\n  \"name\": 7\n}")
	if _, err := functions.Build(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "line 2, column") {
		t.Errorf("bad manifest: %v", err)
	}
	write("manifest.json", `{"abi":"tiercel_v1","name":"f","version":"1","needs":{}}`)
	write("go.mod", "module f\n\ngo 1.26.0\n")
	write("main.go", "package main\n\nfunc main() { undefined() }\n")
	if _, err := functions.Build(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "main.go:3:15: undefined: undefined") {
		t.Errorf("bad source: %v", err)
	}
}
