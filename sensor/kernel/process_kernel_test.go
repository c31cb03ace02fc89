//go:build kernel

package kernel

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
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
	children["nothing"] = func([]string) error { return nil }
}
