package sensor

import (
	"os/exec"
	"testing"

	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/kernel"
	"github.com/tiercel-project/tiercel/sensor/process"
)

// living returns the pid of a process that lives as long as the test: of others the table finds out that they are not in /proc.
func living(t *testing.T) uint32 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "infinity")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // the context has ended it
	return uint32(cmd.Process.Pid)
}

// TestRestore: after a loss of process records those that live are read again, and those that are not there have ended.
func TestRestore(t *testing.T) {
	lives, ends, lost := living(t), living(t), living(t)
	r := start(t, nil)
	r.log.waitFor(t, "watching the kernel")
	for _, pid := range []uint32{lives, ends} {
		r.src.events <- shell(task(pid, "sh"))
	}
	r.src.mu.Lock()
	again := procinfo(task(lives, "sh"))
	missed := procinfo(task(lost, "missed"))
	missed.Task.PPID, missed.Task.ParentStartNS = lives, again.Task.StartNS
	r.src.now = []*event.Event{again, missed}
	r.src.lossy, r.src.lost = kernel.ProcessRing, 3
	r.src.mu.Unlock()
	r.log.waitFor(t, `msg="processes read again after a loss" added=1 ended=1`)
	p := &r.pipeline
	p.mu.Lock()
	defer p.mu.Unlock()
	find := func(pid uint32) *process.Process { return p.table.ByPID(pid, p.now()) }
	if q := find(lost); q == nil || q.Image(0).Name != "missed" || p.table.Parent(q, p.now()) != find(lives) {
		t.Errorf("the process that was missed: %+v", q)
	}
	if q := find(lives); q.ExitNS != 0 || q.Image(0).Exe == "" {
		t.Errorf("the process that lives: %+v", q)
	}
	if q := find(ends); q.ExitNS == 0 {
		t.Error("the process that is not there has not ended")
	}
	if r.src.known != 1 {
		t.Errorf("%d processes were known, want 1", r.src.known)
	}
}
