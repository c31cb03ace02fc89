package functions_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/testcase"
)

// A new function builds, passes its own test and runs, without anything from elsewhere.
func TestNewFunction(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "my-responder")
	files, err := functions.WriteTemplate(dir, "my-responder", "go")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		".gitignore", "function.yaml", "go.mod", "main.go", "manifest.json", "testdata/event.json", "testdata/labels.txtar", "testdata/no-pod.txtar",
	}
	if !slices.Equal(files, want) {
		t.Errorf("wrote %q, want %q", files, want)
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
	passCases(t, m, dir)
}

// So does one in JavaScript or TypeScript, whose source is all that is deployed.
func TestNewJavaScriptFunction(t *testing.T) {
	t.Run("javascript", func(t *testing.T) { testNewSource(t, "javascript", "my-responder.js", "jsconfig.json") })
	t.Run("typescript", func(t *testing.T) { testNewSource(t, "typescript", "my-responder.ts", "tsconfig.json") })
}

func testNewSource(t *testing.T, lang, file, config string) {
	dir := filepath.Join(t.TempDir(), "my-responder")
	files, err := functions.WriteTemplate(dir, "my-responder", lang)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{".gitignore", config, file, "testdata/event.json", "testdata/labels.txtar", "testdata/no-pod.txtar"}
	slices.Sort(want)
	if !slices.Equal(files, want) {
		t.Errorf("wrote %q, want %q", files, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "tiercel.d.ts")); err != nil {
		t.Error(err)
	}
	passCases(t, packed(t, filepath.Join(dir, file)), dir)
}

// The responder in samples/sdk does in JavaScript what it does in the other languages.
func TestJavaScriptConforms(t *testing.T) {
	sdk := filepath.Join("..", "samples", "sdk")
	passCases(t, packed(t, filepath.Join(sdk, "javascript", "mark-pod.js")), sdk)
}

// packed makes a module of a source in JavaScript.
func packed(t *testing.T, file string) *sandbox.Module {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	e, err := sandbox.New(sandbox.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	p, err := e.Pack(t.Context(), file, source)
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Compile(t.Context(), p.Module)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// passCases runs the cases of the function in dir.
func passCases(t *testing.T, m *sandbox.Module, dir string) {
	t.Helper()
	config, err := manifest.ApplyConfig(m.Manifest().Config, nil)
	if err != nil {
		t.Fatal(err)
	}
	cases, _ := filepath.Glob(filepath.Join(dir, "testdata", testcase.Pattern))
	if len(cases) == 0 {
		t.Error("there are no cases")
	}
	for _, file := range cases {
		c, err := testcase.Load(file, testcase.Defaults{Config: config})
		if err != nil {
			t.Fatal(err)
		}
		run, err := c.Run(t.Context(), m, sandbox.Limits{})
		if err == nil {
			err = c.Compare(run)
		}
		if err != nil {
			t.Error(err)
		}
	}
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
