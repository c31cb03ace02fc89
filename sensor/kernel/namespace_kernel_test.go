//go:build kernel

package kernel

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

// The first process of a new pid namespace has the numbers that it knows itself by, whether its fork is recorded briefly or not.
func TestPidNamespace(t *testing.T) {
	w := start(t, all)
	for _, condition := range []string{"evt.type = openat and fd.name = /nothing", "evt.type in (clone, clone3, fork, vfork, procexit) and proc.name = nothing"} {
		p := compilePlan(t, filter.Options{}, condition)
		if err := w.Use(p, p); err != nil {
			t.Fatal(err)
		}
		cmd := child(t, "nothing") // not /bin/true: on emulated machines that is what boots them if it is the first process
		cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
		pid := run(t, cmd)
		fork := w.find(t, "fork", func(ev *event.Event) bool { return ev.Fork.ChildPID == pid })
		ran := w.find(t, "exec", func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Type == field.EventExecve })
		if f := &fork.Fork; f.ChildVPID != 1 || f.ChildVTID != 1 {
			t.Errorf("%s: fork: got %+v", condition, f)
		}
		parent, task := &fork.Task, &ran.Task
		if parent.PidNS == 0 {
			t.Errorf("%s: forked by %+v", condition, parent)
		}
		// The group and the session are the parent's, which have no number here.
		if task.VPID != 1 || task.VTID != 1 || task.VPGID != 0 || task.VSID != 0 || task.PGID != parent.PGID || task.SID != parent.SID {
			t.Errorf("%s: exec by %+v", condition, task)
		}
		if task.PidNS == 0 || task.PidNS == parent.PidNS || ran.Exec.PidNSInitStartNS != task.StartNS {
			t.Errorf("%s: namespace %d of an init that started at %d, exec by %+v", condition, task.PidNS, ran.Exec.PidNSInitStartNS, task)
		}
	}
}
