package sandbox_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

func TestInspect(t *testing.T) {
	a := counter()
	a.memory = &wasm.Limits{Min: 1, Max: 16, HasMax: true}
	bin := a.bytes(t)
	got, err := sandbox.Inspect(bin)
	if err != nil {
		t.Fatal(err)
	}
	if got.Metered <= got.Code {
		t.Errorf("%d bytes of code, %d metered", got.Code, got.Metered)
	}
	want := &sandbox.Inspection{
		Format: "WebAssembly", Digest: got.Digest, Size: len(bin), Manifest: got.Manifest, Exports: got.Exports, Functions: 2, Data: 1, Memory: 64 << 10, Most: 1 << 20,
		Code: got.Code, Metered: got.Metered, Checks: 2, Reset: sandbox.ResetInPlace, ResetWhy: got.ResetWhy,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Manifest.Name != "assembled" || len(got.Exports) != 2 || !strings.HasPrefix(got.Digest, "sha256:") {
		t.Errorf("got %+v", got)
	}
	a.tables = []wasm.Limits{{Min: 1}}
	a.funcs = append(a.funcs, asmFunc{typ: nothing, code: code(constant(0), []byte{0xd0, 0x70, 0x26, 0})})
	if got, err = sandbox.Inspect(a.bytes(t)); err != nil || got.Reset != sandbox.ResetAnew || !strings.Contains(got.ResetWhy[0], "tables") {
		t.Errorf("got %+v, %v", got, err)
	}
}

// What is wrong with a module does not hide what can be read of it.
func TestInspectRefused(t *testing.T) {
	a := good()
	a.imports = []asmImport{{"env", "abort", nothing}}
	got, err := sandbox.Inspect(a.bytes(t))
	if err == nil || !strings.Contains(err.Error(), "env.abort") {
		t.Errorf("got %v", err)
	}
	if !cmp.Equal(got.Imports, []string{"env.abort () -> ()"}) || got.Memory != 64<<10 || got.Manifest.Name != "assembled" {
		t.Errorf("got %+v", got)
	}
	if got, err := sandbox.Inspect([]byte("\x7fELF")); err == nil || got == nil || got.Size != 4 {
		t.Errorf("got %+v, %v", got, err)
	}
}
