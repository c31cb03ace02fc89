package sensor

import (
	"testing"

	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/kernel"
	"github.com/tiercel-project/tiercel/sensor/process"
)

// TestRestore: after a loss of process records those that live are read again, and those that are not there have ended.
func TestRestore(t *testing.T) {
	r := start(t, nil)
	r.log.waitFor(t, "watching the kernel")
	for _, pid := range []uint32{31, 32} {
		r.src.events <- shell(task(pid, "sh"))
	}
	r.src.mu.Lock()
	again := procinfo(task(31, "sh"))
	missed := procinfo(task(33, "missed"))
	missed.Task.PPID, missed.Task.ParentStartNS = 31, again.Task.StartNS
	r.src.now = []*event.Event{again, missed}
	r.src.lossy, r.src.lost = kernel.ProcessRing, 3
	r.src.mu.Unlock()
	r.log.waitFor(t, `msg="processes read again after a loss" added=1 ended=1`)
	p := &r.pipeline
	p.mu.Lock()
	defer p.mu.Unlock()
	find := func(pid uint32) *process.Process { return p.table.ByPID(pid, p.now()) }
	if q := find(33); q == nil || q.Image(0).Name != "missed" || p.table.Parent(q, p.now()) != find(31) {
		t.Errorf("process 33: %+v", q)
	}
	if q := find(31); q.ExitNS != 0 || q.Image(0).Exe == "" {
		t.Errorf("process 31 %+v", q)
	}
	if q := find(32); q.ExitNS == 0 {
		t.Error("process 32 has not ended")
	}
	if r.src.known != 1 {
		t.Errorf("%d processes were known, want 1", r.src.known)
	}
}
