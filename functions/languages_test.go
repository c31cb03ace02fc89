//go:build sdk

package functions_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/testcase"
)

var languages = []string{"c", "rust", "assemblyscript", "go"}

// usePackages has compilers come from Debian's packages and from npm ci in sdk/assemblyscript, not from what a user has installed.
func usePackages(t *testing.T) {
	t.Helper()
	asc, err := filepath.Abs("sdk/assemblyscript/node_modules/.bin")
	if err != nil {
		t.Fatal(err)
	}
	goroot := filepath.Join(os.Getenv("GOROOT"), "bin")
	if os.Getenv("GOROOT") == "" {
		goroot = "/usr/local/go/bin"
	}
	t.Setenv("PATH", strings.Join([]string{"/usr/bin", "/bin", asc, goroot}, ":"))
	t.Setenv("GOPROXY", "off")
}

// The same responder in each language does the same: samples/sdk/testdata is the part of the contract's cases that is for SDKs.
func TestSDKsConform(t *testing.T) {
	usePackages(t)
	for _, language := range languages {
		t.Run(language, func(t *testing.T) {
			runCases(t, filepath.Join("..", "samples", "sdk", language), filepath.Join("..", "samples", "sdk", "testdata"))
		})
	}
}

// A new function builds and passes its own cases, without anything from elsewhere.
func TestNewFunctions(t *testing.T) {
	usePackages(t)
	for _, language := range languages {
		t.Run(language, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "my-responder")
			if _, err := functions.WriteTemplate(dir, "my-responder", language); err != nil {
				t.Fatal(err)
			}
			runCases(t, dir, filepath.Join(dir, "testdata"))
		})
	}
}

// runCases builds the function in dir and runs the cases of a folder, each twice: the second time finds what the first did.
func runCases(t *testing.T, dir, cases string) {
	t.Helper()
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
	defer m.Close()
	files, err := filepath.Glob(filepath.Join(cases, testcase.Pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		c, err := testcase.Load(file, testcase.Defaults{})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			run, err := c.Run(t.Context(), m, sandbox.Limits{})
			if err == nil && *update {
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
	}
}

// Where there is no compiler, the error says which package has it.
func TestMissingTools(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for language, want := range map[string]string{
		"c": "clang-14 lld-14 wasi-libc", "rust": "cargo rustc libstd-rust-dev-wasm32", "assemblyscript": "npm install", "go": "https://go.dev/dl",
	} {
		_, err := functions.Build(t.Context(), filepath.Join("..", "samples", "sdk", language))
		if !errors.Is(err, functions.ErrNoTool) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", language, err, want)
		}
	}
}

// What a compiler says is said, with the line.
func TestCompilerErrors(t *testing.T) {
	usePackages(t)
	for language, change := range map[string]struct{ file, want string }{
		"c":              {"main.c", "main.c:1:"},
		"rust":           {"src/lib.rs", "src/lib.rs:1:"},
		"assemblyscript": {"assembly/index.ts", "assembly/index.ts(1,"},
	} {
		dir := filepath.Join(t.TempDir(), "broken")
		if _, err := functions.WriteTemplate(dir, "broken", language); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, change.file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append([]byte("nonsense here;\n"), text...), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := functions.Build(t.Context(), dir); err == nil || !strings.Contains(err.Error(), change.want) {
			t.Errorf("%s: got %v, want %q", language, err, change.want)
		}
	}
}

func TestNoSource(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(`{"abi":"tiercel_v1","name":"f","version":"1","needs":{}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := functions.Build(t.Context(), dir); !errors.Is(err, functions.ErrNoSource) || !strings.Contains(err.Error(), "Cargo.toml (rust)") {
		t.Errorf("got %v", err)
	}
}
