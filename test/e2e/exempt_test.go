//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const folderRule = `
- rule: Folder
  desc: somebody opens a folder of the test or a file in it
  condition: evt.type in (open, openat, openat2) and fd.name startswith FOLDER
  output: opened %fd.name
  priority: NOTICE
`

// A runtime that is a process of its own is exempt from rules while it is connected to the sensor; one that has not asked is not.
func TestRuntimeIsExempt(t *testing.T) {
	dir, port, status := t.TempDir(), freePort(t), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	rules, nats := filepath.Join(dir, "rules.yaml"), fmt.Sprintf("nats://127.0.0.1:%d", port)
	socket := filepath.Join(dir, "s", "self.sock")
	writeFile(t, rules, strings.ReplaceAll(folderRule, "FOLDER", dir+"/functions"))
	for _, name := range []string{"functions-exempt", "functions-seen"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name, "broken.yaml"), "of which the runtime says that it has read it")
	}
	outsideNATS(t, port, t.TempDir())
	sensor := start(t, "sensor", "--nats", nats, "--data", t.TempDir(), "--http", status, "--node", "e2e", "--rules", rules, "--self-socket", socket)
	sensor.stderr.waitFor(t, 2*time.Minute, `msg="watching the kernel"`)
	runtime := func(functions, socket string) *process {
		t.Helper()
		return start(t, "runtime", "--nats", nats, "--data", t.TempDir(), "--http", "", "--node", "e2e", "--functions", filepath.Join(dir, functions),
			"--self-socket", socket)
	}
	doctor := func() string {
		t.Helper()
		out, _, _ := command(t, "doctor", "--nats", nats, "--http", status)
		return out
	}
	exempt := runtime("functions-exempt", socket)
	exempt.stderr.waitFor(t, time.Minute, "the sensor on this machine passes over what this process does")
	sensor.stderr.waitFor(t, time.Minute, fmt.Sprintf(`a process is exempt.* pid=%d exe=`, exempt.cmd.Process.Pid))
	exempt.stderr.waitFor(t, 2*time.Minute, "functions-exempt/broken.yaml")
	runtime("functions-seen", "")
	sensor.stdout.waitFor(t, 2*time.Minute, "opened "+dir+"/functions-seen")
	if n := sensor.stdout.count("opened " + dir + "/functions-exempt"); n != 0 {
		t.Errorf("rules saw %d opens of the exempt runtime", n)
	}
	said := fmt.Sprintf("rules do not see what process %d ", exempt.cmd.Process.Pid)
	if out := doctor(); !strings.Contains(out, said) {
		t.Errorf("no %q in\n%s", said, out)
	}
	if code := exempt.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	sensor.stderr.waitFor(t, time.Minute, `a process is no longer exempt.* calls=[1-9]`)
	if out := doctor(); strings.Contains(out, said) {
		t.Errorf("%q is still in\n%s", said, out)
	}
}
