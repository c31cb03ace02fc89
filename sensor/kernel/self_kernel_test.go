//go:build kernel

package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

func init() {
	// obey: does what lines on standard input say, and answers each with a line. "open NAME" opens a file, "run NAME" has a program that it
	// starts open it, "become NAME" has one open it that takes its place.
	addChild("obey", func([]string) error {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); fmt.Println("done") {
			what, name, _ := strings.Cut(in.Text(), " ")
			switch what {
			case "open":
				_, _ = unix.Openat(unix.AT_FDCWD, name, unix.O_RDONLY, 0)
			case "run":
				cmd := exec.Command("/proc/self/exe", name)
				cmd.Env = append(os.Environ(), childEnv+"=open one")
				if err := cmd.Run(); err != nil {
					return err
				}
			case "become":
				if err := os.Setenv(childEnv, "open one"); err != nil {
					return err
				}
				return unix.Exec("/proc/self/exe", []string{os.Args[0], name}, os.Environ())
			}
		}
		return nil
	})
	addChild("open one", func(args []string) error {
		_, _ = unix.Openat(unix.AT_FDCWD, args[0], unix.O_RDONLY, 0)
		return nil
	})
}

// An obeyer is a process that does what it is told.
type obeyer struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
	pid   uint32
}

func obey(t *testing.T) *obeyer {
	t.Helper()
	cmd := child(t, "obey")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &obeyer{t: t, cmd: cmd, in: in, lines: bufio.NewReader(out), pid: uint32(cmd.Process.Pid)}
	t.Cleanup(o.end)
	o.do("open /") // its program runs
	return o
}

// tell has the process begin something.
func (o *obeyer) tell(line string) {
	o.t.Helper()
	if _, err := fmt.Fprintln(o.in, line); err != nil {
		o.t.Fatal(err)
	}
}

// do has the process do something.
func (o *obeyer) do(line string) {
	o.t.Helper()
	o.tell(line)
	if answer, err := o.lines.ReadString('\n'); err != nil || answer != "done\n" {
		o.t.Fatalf("%s: got %q, %v", line, answer, err)
	}
}

// end waits for the process to end.
func (o *obeyer) end() {
	_ = o.in.Close()
	if o.cmd.ProcessState == nil {
		_ = o.cmd.Wait()
	}
}

func opens(name string) func(*event.Event) bool {
	return func(ev *event.Event) bool { return ev.Type == field.EventOpenat && ev.Open.Path.Raw == name }
}

func mayBe() error { return nil }

// A process that is exempt makes no events for rules. What it starts does, and it does so itself after an exec or the exemption's end.
func TestExempt(t *testing.T) {
	exempt, other := obey(t), obey(t)
	w := start(t, func(ev *event.Event) bool {
		return strings.HasPrefix(ev.Open.Path.Raw, "/nonexistent/") || ev.Fork.ChildPID != 0 && ev.Task.PID == exempt.pid
	}, field.EventOpenat, field.EventClone, field.EventClone3, field.EventVfork)
	e, err := w.Exempt(exempt.pid, mayBe)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	exempt.do("open /nonexistent/exempt")
	exempt.do("run /nonexistent/started")
	other.do("open /nonexistent/other")
	w.find(t, "open by the other process", opens("/nonexistent/other"))
	w.find(t, "open by what the exempt process started", opens("/nonexistent/started"))
	forks := 0
	for _, ev := range w.seen {
		if opens("/nonexistent/exempt")(ev) {
			t.Error("the exempt process's open is an event")
		}
		if ev.Fork.ChildPID != 0 {
			forks++
			if ev.Flags&event.ProcessOnly == 0 {
				t.Error("rules see the exempt process's fork")
			}
		}
	}
	if forks == 0 {
		t.Error("no fork of the exempt process")
	}
	st, err := w.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if n := e.Calls(); n < 2 || st.Others < n {
		t.Errorf("%d calls were passed over, %d of all exempt processes: want 2 and more", n, st.Others)
	}

	exempt.tell("become /nonexistent/become")
	if ev := w.find(t, "open after an exec", opens("/nonexistent/become")); ev.Task.PID != exempt.pid {
		t.Errorf("open by %d, want %d", ev.Task.PID, exempt.pid)
	}

	e, err = w.Exempt(other.pid, mayBe)
	if err != nil {
		t.Fatal(err)
	}
	other.do("open /nonexistent/unseen")
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	other.do("open /nonexistent/seen")
	w.find(t, "open after the exemption", opens("/nonexistent/seen"))
	for _, ev := range w.seen {
		if opens("/nonexistent/unseen")(ev) {
			t.Error("the open before it is an event")
		}
	}
	if n := e.Calls(); n == 0 {
		t.Error("no call was passed over because of an exemption that has ended")
	}
}

// The end of a process that was exempt until then is no event for rules.
func TestExemptEnd(t *testing.T) {
	o := obey(t)
	w := start(t, func(ev *event.Event) bool { return ev.Type == field.EventProcexit && ev.Task.PID == o.pid }, field.EventProcexit)
	e, err := w.Exempt(o.pid, mayBe)
	if err != nil {
		t.Fatal(err)
	}
	o.end()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if ev := w.find(t, "exit", all); ev.Flags&event.ProcessOnly == 0 {
		t.Error("rules see it")
	}
}

// Who is refused.
func TestExemptRefused(t *testing.T) {
	w := start(t, func(*event.Event) bool { return false })
	o := obey(t)
	no := errors.New("no")
	if _, err := w.Exempt(o.pid, func() error { return no }); !errors.Is(err, no) {
		t.Errorf("got %v, want what check said", err)
	}
	if _, err := w.Exempt(o.pid, func() error { // another program takes its place while it is looked at
		o.tell("become /")
		o.end()
		return nil
	}); !errors.Is(err, ErrExemptGone) {
		t.Errorf("a process that ended: got %v, want %v", err, ErrExemptGone)
	}
	var all []*Exemption
	defer func() {
		for _, e := range all {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	for range MaxExempt {
		o := obey(t)
		e, err := w.Exempt(o.pid, mayBe)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
		if _, err := w.Exempt(o.pid, mayBe); !errors.Is(err, ErrExemptTwice) {
			t.Errorf("the same again: got %v, want %v", err, ErrExemptTwice)
		}
	}
	if _, err := w.Exempt(obey(t).pid, mayBe); !errors.Is(err, ErrExemptMany) {
		t.Errorf("one more: got %v, want %v", err, ErrExemptMany)
	}
}
