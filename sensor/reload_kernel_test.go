//go:build kernel

package sensor

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	reloadChild = "TIERCEL_RELOAD_CHILD" // a file that a process opens until its input ends
	reloadCount = "TIERCEL_RELOADS"      // how many reloads TestReloads makes; default 40
)

func init() {
	if name := os.Getenv(reloadChild); name != "" {
		done := make(chan struct{})
		go func() {
			_, _ = unix.Read(0, make([]byte, 1))
			close(done)
		}()
		n := 0
		for ; ; n++ {
			select {
			case <-done:
				fmt.Println(n)
				os.Exit(0)
			default:
			}
			if fd, err := unix.Open(name, unix.O_RDONLY, 0); err == nil {
				_ = unix.Close(fd)
			}
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// TestReloads: while rules are exchanged, each event matches exactly the old or exactly the new ones. Both sets want the same event under
// different conditions, which the kernel decides, so that a filter that is narrowed too early would lose some.
func TestReloads(t *testing.T) {
	reloads := 40
	if text := os.Getenv(reloadCount); text != "" {
		var err error
		if reloads, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	name := dir + "/watched"
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rule := func(name, condition string) string {
		return fmt.Sprintf("- rule: %s\n  desc: d\n  condition: evt.type in (open, openat) and %s\n  output: x\n  priority: INFO\n", name, condition)
	}
	sets := []string{
		rule("old", "fd.num >= 0 and fd.name = "+name) + rule("old too", "evt.rawres >= 0 and fd.name endswith "+name),
		rule("new", "evt.is_open_read = true and fd.directory = "+dir),
	}
	s := quietly(t, compileRules(t, sets[0]), func(*Config) {})
	var old, oldToo, fresh int
	s.pipeline.mu.Lock()
	report := s.pipeline.report
	s.pipeline.report = func(m *match) {
		switch m.rule.Name {
		case "old":
			old++
		case "old too":
			oldToo++
		case "new":
			fresh++
		}
		report(m)
	}
	s.pipeline.mu.Unlock()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), reloadChild+"="+name)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out syncBuffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range reloads {
		s.Reload(compileRules(t, sets[(i+1)%2]))
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	opened, err := strconv.Atoi(out.String()[:len(out.String())-1])
	if err != nil {
		t.Fatal(err)
	}
	seen := func() int {
		s.pipeline.mu.Lock()
		defer s.pipeline.mu.Unlock()
		return old + fresh
	}
	for deadline := time.Now().Add(time.Minute); seen() < opened && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	s.pipeline.mu.Lock()
	defer s.pipeline.mu.Unlock()
	t.Logf("%d reloads, %d opens: %d by the old rules, %d by the new", reloads, opened, old, fresh)
	if old+fresh != opened || old != oldToo {
		t.Errorf("%d opens, of which %d and %d matched the old rules and %d the new one", opened, old, oldToo, fresh)
	}
	if old == 0 || fresh == 0 {
		t.Error("only one of the two sets was ever in force")
	}
}
