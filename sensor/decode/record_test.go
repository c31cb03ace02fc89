package decode

import (
	"testing"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// TestChangeRecord: what is changed in a record is what is decoded from it.
func TestChangeRecord(t *testing.T) {
	r := []byte(newRecord(bpf.SensorKindKIND_EXEC, field.EventExecve, bpf.SensorHeadFlagHEAD_COMPAT, 0))
	r = AppendSection(r, bpf.SensorTagTAG_ENV, []byte("A=1\x00"))
	SetFlag(r, bpf.SensorHeadFlagHEAD_ENV_TRUNCATED)
	if got := Type(r); got != field.EventExecve {
		t.Errorf("type %v, want execve", got)
	}
	SetType(r, field.EventExecveat)
	var ev event.Event
	if err := Record(r, &ev); err != nil {
		t.Fatal(err)
	}
	if ev.Type != field.EventExecveat || string(ev.Exec.Env) != "A=1\x00" || ev.Flags != event.Compat|event.EnvTruncated {
		t.Errorf("type %v, environment %q, flags %b", ev.Type, ev.Exec.Env, ev.Flags)
	}
	if Type(r[:4]) != 0 {
		t.Error("half a head has a type")
	}
}
