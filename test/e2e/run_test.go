//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startRun starts tiercel run without a cluster and waits until it watches.
func startRun(t testing.TB, args ...string) (p *process, data string) {
	t.Helper()
	data = t.TempDir()
	p = start(t, append([]string{"run", "--data", data, "--http", "", "--node", "e2e"}, args...)...)
	p.stderr.waitFor(t, 2*time.Minute, `msg="watching the kernel"`)
	return p, data
}

// The first thing a user tries.
func TestReadShadow(t *testing.T) {
	p, data := startRun(t)
	if out, err := exec.Command("cat", "/etc/shadow").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p.stdout.waitFor(t, 2*time.Minute, `Warning Sensitive file read .*file=/etc/shadow process=cat`)
	out := tiercel(t, "event", "tail", "--data", data, "--all", "-n", "1", "--rule", "Read sensitive file")
	if !strings.Contains(out, "/etc/shadow") {
		t.Errorf("event tail: %s", out)
	}
	if code := p.terminate(); code != 0 {
		t.Errorf("after SIGTERM the exit code is %d", code)
	}
	if left := processesWith(data); len(left) > 0 {
		t.Errorf("processes are left over: %q", left)
	}
}

// processesWith returns the command lines that hold text.
func processesWith(text string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), text) {
			found = append(found, string(b))
		}
	}
	return found
}

const markerRules = `
- rule: Marker
  desc: the test reads its file
  condition: evt.type in (open, openat, openat2) and evt.is_open_read=true and fd.name=FILE
  output: TEXT %fd.name
  priority: NOTICE
`

// Rules are read again when their file changes; a file that is broken changes nothing.
func TestRulesReload(t *testing.T) {
	dir := t.TempDir()
	file, rules := filepath.Join(dir, "marker"), filepath.Join(dir, "rules.yaml")
	writeFile(t, file, "x")
	set := func(text string) {
		t.Helper()
		writeFile(t, rules+".new", text)
		if err := os.Rename(rules+".new", rules); err != nil { // as editors and kubelets do
			t.Fatal(err)
		}
	}
	with := func(text string) string { return strings.NewReplacer("FILE", file, "TEXT", text).Replace(markerRules) }
	read := func() {
		t.Helper()
		if out, err := exec.Command("cat", file).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	set(with("first"))
	p, _ := startRun(t, "--rules", rules)
	read()
	p.stdout.waitFor(t, 2*time.Minute, "first "+file)

	set(strings.ReplaceAll(with("broken"), "fd.name=", "fd.nam="))
	p.stderr.waitFor(t, 2*time.Minute, `rules not reloaded: those before stay.*rules\.yaml:4:\d+`)
	read()
	eventually(t, "the rules from before are in force", func() bool { return p.stdout.count("first "+file) == 2 })

	set(with("second"))
	eventually(t, "the new rules are in force", func() bool {
		read()
		return p.stdout.count("second "+file) > 0
	})
	if code := p.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Who is not root is told so, before anything is made on disk.
func TestNotRoot(t *testing.T) {
	dir := t.TempDir()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) { // t.TempDir is root's own
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(binary), 0o755); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	cmd := exec.Command(binary, "run", "--data", data)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("exit code %d (%v)\n%s", cmd.ProcessState.ExitCode(), err, out)
	}
	if text := string(out); !strings.Contains(text, "error: ") || !strings.Contains(text, "hint: ") || !strings.Contains(text, "root") {
		t.Errorf("it is said so:\n%s", out)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("the data directory was made")
	}
}
