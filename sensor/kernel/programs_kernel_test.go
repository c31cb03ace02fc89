//go:build kernel

package kernel

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/tiercel-project/tiercel/bpf"
)

// TestRefused: an optional program that the verifier refuses is left out and named, with what the verifier says; a hook of sockets takes the
// other ones with it. Another program's refusal is an error.
func TestRefused(t *testing.T) {
	const required, optional = bpf.SensorProgCallRecord, bpf.SensorProgCgroupGone
	load := func(t *testing.T, wrong ...string) (*Sensor, error) {
		t.Helper()
		spec, err := bpf.LoadSensor()
		if err != nil {
			t.Fatal(err)
		}
		for name := range spec.Programs {
			if name != required && name != optional && !strings.HasPrefix(name, hookPrefix) {
				delete(spec.Programs, name)
			}
		}
		for _, name := range []string{bpf.SensorMapProcessRing, bpf.SensorMapEventRing} {
			spec.Maps[name].MaxEntries = 64 << 10
		}
		if err := prepareHooks(spec); err != nil {
			t.Fatal(err)
		}
		for _, name := range wrong {
			spec.Programs[name].Instructions = asm.Instructions{asm.Mov.Reg(asm.R0, asm.R9), asm.Return()}
		}
		cfg := Config{}
		cfg.setDefaults()
		s := &Sensor{cfg: cfg, types: btf.NewCache()}
		t.Cleanup(func() { s.coll.Close() })
		return s, s.loadPrograms(spec)
	}
	t.Run("none", func(t *testing.T) {
		s, err := load(t)
		if err != nil || len(s.missing) > 0 || len(s.coll.Programs) != 6 {
			t.Errorf("%d programs, missing %q, %v", len(s.coll.Programs), s.missing, err)
		}
	})
	t.Run("optional", func(t *testing.T) {
		s, err := load(t, optional, bpf.SensorProgHookSendmsg6, bpf.SensorProgHookConnect4)
		if err != nil || len(s.coll.Programs) != 1 || s.coll.Programs[required] == nil {
			t.Fatalf("programs %v, %v", s.coll.Programs, err)
		}
		if len(s.missing) != 2 {
			t.Fatalf("missing %q", s.missing)
		}
		for i, name := range []string{optional, bpf.SensorProgHookConnect4} {
			for _, want := range []string{"load " + name + ": ", "!read_ok", optionalPrograms[name]} {
				if !strings.Contains(s.missing[i], want) {
					t.Errorf("%q lacks %q", s.missing[i], want)
				}
			}
		}
	})
	t.Run("required", func(t *testing.T) {
		_, err := load(t, required, bpf.SensorProgHookConnect4)
		if _, ok := errors.AsType[*ebpf.VerifierError](err); !ok || !strings.Contains(err.Error(), "program "+required+": ") {
			t.Errorf("error %v", err)
		}
	})
}
