package sandbox_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// products are the files of a cache folder that the engine itself does not make.
func products(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "tiercel-*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What a file was made into serves the next process: the same state, without running its initialisation. A damaged product is made again.
func TestProducts(t *testing.T) {
	t.Run("WebAssembly", func(t *testing.T) { testProducts(t, counter().bytes(t)) })
	t.Run("JavaScript", func(t *testing.T) {
		const source = `let n = 0; export default (ev, tiercel) => { if (n++ > 0) throw new Error("not the first"); tiercel.report("n", n); }`
		p, err := newEngine(t, 1).Pack(t.Context(), "once.js", []byte(source))
		if err != nil {
			t.Fatal(err)
		}
		testProducts(t, p.Module)
	})
}

func testProducts(t *testing.T, bin []byte) {
	dir := t.TempDir()
	run := func(want string) (image string) {
		t.Helper()
		reg := prometheus.NewRegistry()
		e, err := sandbox.New(sandbox.Config{CacheDir: dir, Slots: 1}, reg)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		m := compile(t, e, bin)
		defer m.Close()
		for i := range 3 {
			if res, _, err := m.Handle(t.Context(), invocation(event("x")), &answers{}); err != nil || res.Outcome != abi.OutcomeSucceeded {
				t.Errorf("event %d: %+v, %v", i, res, err)
			}
		}
		counts := `
# HELP tiercel_runtime_sandbox_products_total Modules made ready, by what became of the stored product: used, kept, not kept, damaged.
# TYPE tiercel_runtime_sandbox_products_total counter
`
		for _, end := range []string{"damaged", "kept", "not kept", "used"} {
			n := "0"
			if strings.Contains(want, "+"+end+"+") {
				n = "1"
			}
			counts += `tiercel_runtime_sandbox_products_total{end="` + end + `"} ` + n + "\n"
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(counts), "tiercel_runtime_sandbox_products_total"); err != nil {
			t.Error(err)
		}
		return m.Image()
	}
	first := run("+kept+")
	if again := run("+used+"); again != first {
		t.Errorf("image %s, restored as %s", first, again)
	}
	files := products(t, dir)
	if len(files) != 1 {
		t.Fatalf("products: %v", files)
	}
	for _, damage := range []func([]byte) []byte{
		func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		func(b []byte) []byte { return b[:10] },
		func(b []byte) []byte { return b[:len(b)-1] },
		func(b []byte) []byte { sum := sha256.Sum256(nil); return sum[:] },
	} {
		b, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(files[0], damage(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if again := run("+damaged+kept+"); again != first {
			t.Errorf("image %s, made again as %s", first, again)
		}
	}
}

// The version names the rewriter's output and the engine: whoever changes one of them changes it.
func TestVersion(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	wazero := strings.Split(sandbox.Version, "/")[1]
	if !strings.Contains(string(mod), "github.com/tetratelabs/wazero "+wazero+"\n") {
		t.Errorf("Version says wazero %s, go.mod another", wazero)
	}
	dir := t.TempDir()
	e, err := sandbox.New(sandbox.Config{CacheDir: dir, Slots: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	bin := counter().bytes(t)
	image := compile(t, e, bin).Image()
	// If this changes, what is made of a file has changed: give Version another number, and put the new digests here.
	const (
		wantModule = "c437c251e6be864e929062a4dde8a41c8c493dc5db1305a5539be755e6933a84"
		wantImage  = "sha256:8967e05717a4ad16937ebb112dc74342ed14d754c6a98aa72379f92e40eb1bf8"
	)
	sum := sha256.Sum256(sandbox.Rewritten(t, bin))
	if got := hex.EncodeToString(sum[:]); got != wantModule || image != wantImage {
		t.Errorf("rewritten module %s, image %s: not those of version %s", got, image, sandbox.Version)
	}
}
