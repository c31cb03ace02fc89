package output

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func readAll(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestProgramOnce: each alert has a process of its own, whose whole input it is.
func TestProgramOnce(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	p := NewProgram(ProgramConfig{Program: `(echo "begin"; cat) >> ` + out, Format: Text, Queue: 10}, nil)
	finish := run(t, p.Output)
	p.Send(alert(1))
	p.Send(alert(2))
	finish()
	if got, want := readAll(t, out), "begin\nalert 1\nbegin\nalert 2\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if st := p.Stats(); st.Written != 2 || st.Name != "program" {
		t.Errorf("%+v", st)
	}
}

// TestProgramKeepAlive: one process takes all alerts, also after it has ended and was started again.
func TestProgramKeepAlive(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	p := NewProgram(ProgramConfig{Program: `echo "begin" >> ` + out + `; exec cat >> ` + out, KeepAlive: true, Format: JSON, Queue: 10}, nil)
	finish := run(t, p.Output)
	p.Send(alert(1))
	p.Send(alert(2))
	comeTrue(t, func() bool { return strings.Count(fileText(out), "n") >= 3 })
	p.Reopen()
	p.Send(alert(3))
	finish()
	if got, want := readAll(t, out), "begin\n{\"n\":1}\n{\"n\":2}\nbegin\n{\"n\":3}\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestProgramEnds: a program that ends is started again, each time after a longer pause, and what it did not take counts as failed.
func TestProgramEnds(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	p := NewProgram(ProgramConfig{
		Program: `read line; echo "$line" >> ` + out, KeepAlive: true, Format: Text, Queue: 100, Backoff: 20 * time.Millisecond,
	}, nil)
	finish := run(t, p.Output)
	start := time.Now()
	taken := func() int { return strings.Count(fileText(out), "\n") }
	sent := uint64(0)
	for n := range 5 { // one process each
		for again := 0; taken() == n; again-- {
			if again == 0 { // what was written to a process that was about to end is in nobody's hands
				p.Send(alert(int(sent)))
				sent++
				again = 500
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	if d := time.Since(start); d < 300*time.Millisecond { // 20+40+80+160
		t.Errorf("five starts took %v: no pause", d)
	}
	finish()
	if st := p.Stats(); st.Written+st.Failed != sent || st.Written < 5 {
		t.Errorf("%+v of %d", st, sent)
	}
}

// TestProgramStuck: a program that does not read or end is killed, with all that it started.
func TestProgramStuck(t *testing.T) {
	dir := t.TempDir()
	for _, keep := range []bool{false, true} {
		pid := filepath.Join(dir, fmt.Sprint(keep))
		failed := make(chan error, 1)
		p := NewProgram(ProgramConfig{
			Program: `sleep 600 & echo $! > ` + pid + `; wait`, KeepAlive: keep, Format: Text, Queue: 10000, Timeout: 3 * time.Second,
		}, func(err error) {
			select {
			case failed <- err:
			default:
			}
		})
		run(t, p.Output)
		for i := range 10000 { // more than a pipe holds
			p.Send(alert(i))
		}
		select {
		case <-failed:
		case <-time.After(time.Minute):
			t.Fatal("the output is stuck")
		}
		child := strings.TrimSpace(readAll(t, pid))
		comeTrue(t, func() bool {
			state := fileText("/proc/" + child + "/stat")
			return state == "" || strings.Contains(state, ") Z ")
		})
		p.Close()
	}
}

func TestProgramFails(t *testing.T) {
	failed := make(chan error, 1)
	p := NewProgram(ProgramConfig{Program: "exit 3", Format: Text, Queue: 10}, func(err error) { failed <- err })
	run(t, p.Output)
	p.Send(alert(1))
	if err := <-failed; !strings.Contains(err.Error(), "exit status 3") {
		t.Error(err)
	}
}

func fileText(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

func comeTrue(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to pass")
		}
	}
}

// TestProgramDirect: a program that runs gets a line from Send itself.
func TestProgramDirect(t *testing.T) {
	needPipes(t)
	out := filepath.Join(t.TempDir(), "out")
	p := NewProgram(ProgramConfig{Program: "exec cat >> " + out, KeepAlive: true, Format: Text, Queue: 10}, nil)
	connect(t, p.Output)
	p.Send(alert(1))
	comeTrue(t, func() bool { return fileText(out) == "first\nalert 1\n" }) // and nothing has run
	p.Reopen()
	p.Send(alert(2))
	if n := behindOf(p.Output); n != 1 {
		t.Errorf("%d behind, want 1: a program that is to be started anew gets nothing more", n)
	}
	run(t, p.Output)()
	if got, want := readAll(t, out), "first\nalert 1\nalert 2\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestProgramEndIsTold: a program that ends by itself, whatever it says of its end, is told of, also if no alert comes after it. One that is asked to end is not.
func TestProgramEndIsTold(t *testing.T) {
	told := make(chan string, 10)
	p := NewProgram(ProgramConfig{Program: "read line", KeepAlive: true, Format: Text, Queue: 10}, func(err error) { told <- err.Error() })
	finish := run(t, p.Output)
	p.Send(alert(1))
	select {
	case got := <-told:
		if !strings.HasPrefix(got, "program ended by itself (exit status 0)") {
			t.Errorf("told %q", got)
		}
	case <-time.After(time.Minute):
		t.Error("told of nothing")
	}
	finish()

	p = NewProgram(ProgramConfig{Program: "exec cat > /dev/null", KeepAlive: true, Format: Text, Queue: 10}, func(err error) { told <- err.Error() })
	finish = run(t, p.Output)
	p.Send(alert(1))
	finish()
	if len(told) != 0 {
		t.Errorf("told %q of a program that was asked to end", <-told)
	}
}
