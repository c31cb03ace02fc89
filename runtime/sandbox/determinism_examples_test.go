package sandbox_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tiercel-project/tiercel/functions"
)

// The same for what fn init makes, in the languages that need nothing but Go.
func TestDeterminismOfTemplates(t *testing.T) {
	for _, language := range []string{"go", "javascript", "typescript"} {
		t.Run(language, func(t *testing.T) { testTemplate(t, language) })
	}
}

// testTemplate makes a new function of a language and runs its cases.
func testTemplate(t *testing.T, language string) {
	t.Helper()
	const name = "my-responder"
	dir := filepath.Join(t.TempDir(), name)
	if _, err := functions.WriteTemplate(dir, name, language); err != nil {
		t.Fatal(err)
	}
	var bin []byte
	var err error
	switch language {
	case "javascript":
		bin = packFile(t, filepath.Join(dir, name+".js"))
	case "typescript":
		bin = packFile(t, filepath.Join(dir, name+".ts"))
	default:
		if bin, err = functions.Build(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	testDeterminism(t, bin, filepath.Join(dir, "testdata"))
}

// The responder that each SDK is shown with, in JavaScript; those with compilers are in TestDeterminismOfSDKs.
func TestDeterminismOfJavaScriptSample(t *testing.T) {
	samples := filepath.Join("..", "..", "samples", "sdk")
	testDeterminism(t, packFile(t, filepath.Join(samples, "javascript", "mark-pod.js")), filepath.Join(samples, "testdata"))
}

func packFile(t *testing.T, file string) []byte {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newEngine(t, 1).Pack(t.Context(), file, source)
	if err != nil {
		t.Fatal(err)
	}
	return p.Module
}
