//go:build kernel

package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

func TestProcessLife(t *testing.T) {
	w := start(t, all)
	cmd := child(t, "nothing", "one", "two words")
	cmd.Dir = t.TempDir()
	cmd.Env = append(cmd.Env, "TIERCEL_MARK=1")
	pid := run(t, cmd)
	of := func(typ field.EventType) func(*event.Event) bool {
		return func(ev *event.Event) bool { return ev.Type == typ && ev.Task.PID == pid }
	}
	fork := w.find(t, "fork", func(ev *event.Event) bool { return ev.Fork.ChildPID == pid })
	exec := w.find(t, "exec", of(field.EventExecve))
	exit := w.find(t, "exit", of(field.EventProcexit))
	if fork.Task.PID != uint32(os.Getpid()) {
		t.Errorf("fork by %d, want %d", fork.Task.PID, os.Getpid())
	}
	if fork.Fork.ChildStartNS != exec.Task.StartNS || exit.Task.StartNS != exec.Task.StartNS {
		t.Errorf("start times differ: fork %d exec %d exit %d", fork.Fork.ChildStartNS, exec.Task.StartNS, exit.Task.StartNS)
	}
	exe, err := filepath.EvalSymlinks(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if exec.Exec.ExePath != exe || exec.Exec.Exe != os.Args[0] || string(exec.Exec.Args) != "one\x00two words\x00" || exec.Exec.Cwd != cmd.Dir {
		t.Errorf("exec: got %+v", exec.Exec)
	}
	if want := filepath.Base(exe); exec.Task.Comm != want[:min(15, len(want))] {
		t.Errorf("comm: got %q, want %q", exec.Task.Comm, want)
	}
	if exec.Task.ExecGen != fork.Task.ExecGen+1 {
		t.Errorf("exec generation: got %d, want %d", exec.Task.ExecGen, fork.Task.ExecGen+1)
	}
	if exec.Task.PPID != uint32(os.Getpid()) || exec.Task.UID != uint32(os.Geteuid()) || exec.Task.PidNS == 0 || exec.Task.MntNS == 0 {
		t.Errorf("task: got %+v", exec.Task)
	}
	if fork.Seq >= exec.Seq || exec.Seq >= exit.Seq {
		t.Errorf("order: fork %d exec %d exit %d", fork.Seq, exec.Seq, exit.Seq)
	}
	t.Logf("%+v", exec)
}

func init() {
	addChild("nothing", func([]string) error { return nil })
}

// Forks and exits that neither rules nor the flight recorder want are brief: of them there is what the process table needs.
func TestBriefLives(t *testing.T) {
	w := start(t, func(ev *event.Event) bool { return ev.Type != 0 && ev.Type != field.EventProcinfo })
	for _, tt := range []struct {
		name      string
		condition string
		brief     bool
	}{
		{"nobody", "evt.type = openat and fd.name = /nothing", true},
		{"forks and exits are wanted", "evt.type in (clone, clone3, fork, vfork, procexit) and proc.name = nothing", false},
		{"nobody again", "evt.type = openat and fd.name = /nothing", true},
	} {
		p := compilePlan(t, filter.Options{}, tt.condition)
		if err := w.Use(p, p); err != nil {
			t.Fatal(err)
		}
		pid := run(t, exec.Command("/bin/true"))
		fork := w.find(t, tt.name+": fork", func(ev *event.Event) bool { return ev.Fork.ChildPID == pid })
		ran := w.find(t, tt.name+": exec", func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Type == field.EventExecve })
		exit := w.find(t, tt.name+": exit", func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Type == field.EventProcexit })
		for name, ev := range map[string]*event.Event{"fork": fork, "exit": exit} {
			if got := ev.Flags&event.Brief != 0; got != tt.brief {
				t.Errorf("%s: %s: brief: %v", tt.name, name, got)
			}
			if ev.Flags&event.Dropped == 0 || tt.brief && ev.Flags&event.Recorded == 0 {
				t.Errorf("%s: %s: rules see it", tt.name, name)
			}
		}
		if got := ran.Flags & event.Brief; got != 0 {
			t.Errorf("%s: an exec is brief", tt.name)
		}
		self, me := &fork.Task, uint32(os.Getpid())
		if self.PID != me || self.StartNS == 0 || self.Comm == "" || self.VPID != me || self.PidNS != ran.Task.PidNS || self.VSID != ran.Task.VSID || self.PGID != ran.Task.PGID {
			t.Errorf("%s: forked by %+v", tt.name, self)
		}
		if f := &fork.Fork; f.ChildStartNS != ran.Task.StartNS || f.ChildVPID != ran.Task.VPID || f.ChildCgroupID != ran.Task.CgroupID || self.CgroupID != ran.Task.CgroupID {
			t.Errorf("%s: fork %+v in cgroup %d, exec %+v", tt.name, f, self.CgroupID, ran.Task)
		}
		if e := &exit.Task; e.StartNS != ran.Task.StartNS || e.Comm != "true" || e.PPID != me || e.ParentStartNS != self.StartNS || e.ExecGen != ran.Task.ExecGen {
			t.Errorf("%s: exit of %+v, exec %+v", tt.name, e, ran.Task)
		}
	}
}
