//go:build sdk

package sandbox_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tiercel-project/tiercel/functions"
)

// useASC has AssemblyScript's compiler come from npm ci in functions/sdk/assemblyscript.
func useASC(t testing.TB) {
	t.Helper()
	bin, err := filepath.Abs(filepath.Join("..", "..", "functions", "sdk", "assemblyscript", "node_modules", ".bin"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// TestIsolationSDK is TestIsolation for the languages whose compilers come from Debian and npm (make deps-sdks).
func TestIsolationSDK(t *testing.T) {
	useASC(t)
	for _, language := range []string{"c", "rust", "assemblyscript"} {
		t.Run(language, func(t *testing.T) { testIsolation(t, language) })
	}
}

// The same for the responder that each SDK is shown with.
func TestDeterminismOfSDKs(t *testing.T) {
	useASC(t)
	samples := filepath.Join("..", "..", "samples", "sdk")
	for _, language := range []string{"c", "rust", "assemblyscript", "go"} {
		t.Run(language, func(t *testing.T) {
			bin, err := functions.Build(t.Context(), filepath.Join(samples, language))
			if err != nil {
				t.Fatal(err)
			}
			testDeterminism(t, bin, filepath.Join(samples, "testdata"))
		})
	}
	for _, language := range []string{"c", "rust", "assemblyscript"} {
		t.Run("template "+language, func(t *testing.T) { testTemplate(t, language) })
	}
}
