package sensor

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/bus"
)

// TestLongArguments: an event stays within its bound however long the texts of the process are, and is valid JSON whatever bytes they have.
func TestLongArguments(t *testing.T) {
	b := startBus(t)
	got := events(t, b)
	long := strings.Repeat("\x01\xff\"", 4096)
	r := start(t, func(_ *Config, d *Deps) {
		d.Bus = b
		d.Rules = load(t, "- rule: Any\n  desc: d\n  condition: evt.type=execve\n  output: x %proc.cmdline %proc.args %proc.env %proc.pcmdline %evt.args %proc.cwd\n  priority: INFO\n")
	})
	r.src.events <- cgroup(1, "/")
	for _, text := range []string{long, strings.Repeat("ü", 10_000), "short"} {
		ev := shell(task(30, "x"))
		ev.Exec.Args, ev.Exec.Env, ev.Exec.Cwd = []byte(text+"\x00"), []byte("A="+text+"\x00"), "/"+text
		r.src.events <- ev
		e := receive(t, got)
		if len(e.Data) > bus.MaxDataSize || !json.Valid(e.Data) {
			t.Errorf("data of %d bytes, valid %v", len(e.Data), json.Valid(e.Data))
		}
		m, err := e.Match()
		if err != nil || m.Rule != "Any" || m.Target.PID != 30 || !bytes.Contains(m.Fields, []byte(`"proc.pid":30`)) {
			t.Errorf("match %+v: %v", m, err)
		}
	}
}
