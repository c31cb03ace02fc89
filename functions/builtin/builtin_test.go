package builtin_test

import (
	"errors"
	"os"
	"testing"

	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/functions/builtin"
)

// Each name is a responder's folder, and its module is compiled in or said not to be.
func TestModules(t *testing.T) {
	for _, name := range builtin.Names() {
		if _, err := os.Stat("../" + name); err != nil {
			t.Error(err)
		}
		wasm, err := builtin.Module(name)
		if errors.Is(err, builtin.ErrNotBuilt) {
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if m, err := manifest.Read(wasm); err != nil || m.Name != name {
			t.Errorf("%s: manifest of %q, %v", name, m.Name, err)
		}
	}
	for _, name := range []string{"", "no-such", "../builtin", "isolate-pod.wasm"} {
		if _, err := builtin.Module(name); !errors.Is(err, builtin.ErrUnknown) {
			t.Errorf("%q: %v, want ErrUnknown", name, err)
		}
	}
}
