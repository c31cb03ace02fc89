package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// tiny is the smallest module of a function:
//
//	(module (memory (export "memory") 1) (func (export "tiercel_handle") (param i32) (result i32) i32.const 0))
var tiny = []byte("\x00asm\x01\x00\x00\x00" + "\x01\x06\x01\x60\x01\x7f\x01\x7f" + "\x03\x02\x01\x00" + "\x05\x03\x01\x00\x01" +
	"\x07\x1b\x02\x06memory\x02\x00\x0etiercel_handle\x00\x00" + "\x0a\x06\x01\x04\x00\x41\x00\x0b")

// A directory is kept deployed: what is added, changed, broken or removed in it.
func TestDirectory(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	dir := t.TempDir()
	module, err := manifest.Append(tiny, []byte(`{"abi": "tiercel_v1", "name": "tiny", "version": "1.0.0", "needs": {}}`))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	doc := func(name string) string {
		return strings.NewReplacer("{name: fn}", "{name: "+name+"}", "builtin:script", "file:tiny.wasm").Replace(plain)
	}
	write("tiny.wasm", string(module))
	write("a.yaml", doc("a"))
	deploy(t, b, plain) // by hand: the directory has no say in it
	cfg := quick()
	cfg.Functions = dir
	r, _ := start(t, b, cfg, Deps{Capabilities: newWorld(b), Compile: compileTo(createOne)})
	has := func(want ...string) func() bool {
		return func() bool {
			entries, err := r.store.List(t.Context())
			if err != nil || len(entries) != len(want) {
				return false
			}
			for i, e := range entries {
				if e.Key() != want[i] {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "a is deployed", has("default_a", "default_fn"))
	eventually(t, "the runtime is ready", func() bool { return r.Ready() == nil })
	write("b.yaml", doc("b"))
	eventually(t, "b is deployed", has("default_a", "default_b", "default_fn"))
	write("b.yaml", "kind: Function\nnonsense: true\n")
	eventually(t, "the runtime is unready, with the place", func() bool {
		err := r.Ready()
		return err != nil && strings.Contains(err.Error(), "b.yaml:2:1: nonsense: unknown key")
	})
	if !has("default_a", "default_b", "default_fn")() {
		t.Error("a broken file has removed a function")
	}
	if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b is deleted", has("default_a", "default_fn"))
	eventually(t, "the runtime is ready again", func() bool { return r.Ready() == nil })
	write("a.yaml", strings.Replace(doc("a"), "spec:", "spec:\n  comment: changed", 1))
	eventually(t, "a has a second revision", func() bool {
		e, err := r.store.Get(t.Context(), "default_a")
		return err == nil && e.Revision == 2 && e.ManagedBy == store.ByDir
	})
	write("c.yaml", doc("fn"))
	eventually(t, "what was deployed by hand is not taken over", func() bool {
		err := r.Ready()
		return err != nil && strings.Contains(err.Error(), "managed by cli")
	})
}
