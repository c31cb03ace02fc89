package sensor

import (
	"strings"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// TestDoneHoldsProcesses: what an ended process was is forgotten only when all of its events have come, however long ago it ended.
func TestDoneHoldsProcesses(t *testing.T) {
	const text = `
- rule: Read
  desc: d
  condition: evt.type=openat and fd.name=/etc/shadow
  output: Read by %proc.cmdline with SECRET=%proc.env[SECRET]
  priority: WARNING
`
	r := start(t, func(_ *Config, d *Deps) { d.Rules = load(t, text) })
	src := r.src
	src.setDone(1)
	ended := bootNS() - uint64(10*time.Second) // the environment is kept 2 s beyond that, the process 30 s
	before := task(20, "victim")
	read := func() {
		ev := shadow(before)
		ev.BootNS = ended - 1
		src.events <- ev
	}
	src.events <- &event.Event{
		Type: field.EventExecve, BootNS: ended - 2, ReadNS: bootNS(), Task: before,
		Exec: event.Exec{Exe: "victim", ExePath: "/bin/victim", Env: []byte("SECRET=kept\x00")},
	}
	src.events <- &event.Event{Type: field.EventProcexit, BootNS: ended, ReadNS: bootNS(), Task: before}
	src.waitTended(t, 3)
	read()
	r.out.waitFor(t, "Read by victim with SECRET=")
	if got := r.out.String(); !strings.Contains(got, "SECRET=kept") {
		t.Errorf("its events had not come: got %s", got)
	}
	src.setDone(^uint64(0))
	src.waitTended(t, 3)
	read()
	r.out.waitFor(t, "SECRET=<NA>")
}
