package sensor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// TestReload: rules are taken over when their file changes; bad ones are reported by position and those before stay.
func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yaml")
	put := func(text string) {
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil { // as editors do
			t.Fatal(err)
		}
	}
	put(testRules)
	r := start(t, func(c *Config, d *Deps) {
		c.ReloadDelay = time.Millisecond
		d.Watch = []string{file}
		d.Load = func() (*rules.Set, *rules.Report, error) {
			files, err := rules.ReadFiles([]string{file})
			if err != nil {
				return nil, nil, err
			}
			set, report := rules.Load(files, rules.Options{})
			return set, report, nil
		}
	})
	r.log.waitFor(t, "watching the kernel")
	put(strings.ReplaceAll(testRules, "fd.name=", "fd.nam="))
	r.log.waitFor(t, "those before stay")
	if want := "at=" + file + ":4:"; !strings.Contains(r.log.String(), want) {
		t.Errorf("log lacks %q:\n%s", want, r.log.String())
	}
	r.out.waitFor(t, "Tiercel internal: rules not reloaded")
	if n := testutil.ToFloat64(r.metrics.stale); n != 1 {
		t.Errorf("rules_stale is %v although the rules were rejected", n)
	}
	r.src.events <- cgroup(1, "/user.slice")
	r.src.events <- shell(task(21, "sh"))
	r.out.waitFor(t, "Shell started")
	put("- rule: Socket\n  desc: d\n  condition: evt.type=socket\n  output: Socket made\n  priority: INFO\n")
	r.log.waitFor(t, "rules reloaded")
	if !r.src.has(field.EventSocket) || r.src.has(field.EventOpenat) {
		t.Error("the kernel side does not select what the new rules want")
	}
	r.src.events <- &event.Event{Type: field.EventSocket, BootNS: bootNS(), Result: 4, Task: task(21, "sh")}
	r.out.waitFor(t, "Socket made")
	if n := testutil.ToFloat64(r.metrics.stale); n != 0 {
		t.Errorf("rules_stale is %v although rules were loaded", n)
	}
	put("# none\n")
	r.log.waitFor(t, "nothing is watched")
	for result, want := range map[string]float64{"loaded": 1, "rejected": 1} {
		if n := testutil.ToFloat64(r.metrics.reloads.WithLabelValues(result)); n < want {
			t.Errorf("%v reloads %s", n, result)
		}
	}
}

// TestSignals: SIGHUP loads the rules anew, SIGUSR1 opens the file output anew.
func TestSignals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "alerts")
	r := start(t, func(c *Config, d *Deps) {
		c.FileOutput = file
		set := load(t, testRules)
		d.Load = func() (*rules.Set, *rules.Report, error) { return set, &rules.Report{}, nil }
	})
	r.log.waitFor(t, "watching the kernel")
	if err := unix.Kill(os.Getpid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.log.waitFor(t, `msg="rules reloaded" why=SIGHUP`)
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(os.Getpid(), unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	r.log.waitFor(t, "the file output is opened anew")
	r.src.events <- cgroup(1, "/user.slice")
	r.src.events <- shell(task(21, "sh"))
	r.stop()
	if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), "Shell started") {
		t.Errorf("new file: %q %v", b, err)
	}
}
