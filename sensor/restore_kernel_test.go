//go:build kernel

package sensor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/sensor/process"
)

// TestRestoreAfterLoss: while nobody reads, more processes come and go than the ring has room for. Afterwards those that live are known with
// their programs, arguments, parents and containers, and those that ended meanwhile have ended.
func TestRestoreAfterLoss(t *testing.T) {
	s, _, log := liveWith(t, strings.ReplaceAll(kernelRules, "%PORT%", "1"), func(c *Config) { c.ProcessRingBytes = 64 << 10 })
	p := &s.pipeline
	before := exec.Command("/bin/sleep", "1000")
	if err := before.Start(); err != nil {
		t.Fatal(err)
	}
	known := func(pid int) *process.Process { return p.table.ByPID(uint32(pid), p.now()) }
	for seen := false; !seen; {
		p.mu.Lock()
		seen = known(before.Process.Pid) != nil
		p.mu.Unlock()
	}

	p.mu.Lock() // the reader stops here
	id := strings.Repeat(fmt.Sprintf("%016x", os.Getpid()), 4)
	dir := filepath.Join(cgroup2(t), fmt.Sprintf("tiercel-test-%d", os.Getpid()), "pod1", id)
	t.Cleanup(func() { removeCgroups(t) })
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`echo $$ >%s/cgroup.procs; i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done; /bin/sleep 999 & echo $!; wait`, dir)
	shell := exec.Command("/bin/sh", "-c", script)
	out, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	var sleeper int
	if _, err := fmt.Fscan(out, &sleeper); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, pid := range []int{sleeper, shell.Process.Pid} {
			if q, err := os.FindProcess(pid); err == nil {
				_ = q.Kill()
			}
		}
		_ = shell.Wait()
		for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
			if b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs")); err != nil || len(b) == 0 {
				break // the cgroup can go
			}
		}
	})
	_ = before.Process.Kill()
	_ = before.Wait()
	p.mu.Unlock()
	log.waitFor(t, "processes read again after a loss")
	slept := func() bool { // it may have been read between its fork and its exec, whose record comes then
		p.mu.Lock()
		defer p.mu.Unlock()
		q := known(sleeper)
		return q != nil && q.Image(1<<31) != nil && q.Image(1<<31).Name == "sleep"
	}
	for until := time.Now().Add(time.Minute); !slept() && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	if q := known(before.Process.Pid); q != nil && q.ExitNS == 0 {
		t.Error("a process that was killed meanwhile still lives")
	}
	q := known(sleeper)
	if q == nil || q.Image(1<<31) == nil {
		t.Fatalf("the process %d is not known: %+v", sleeper, q)
	}
	if im := q.Image(1 << 31); im.Name != "sleep" || im.Cmdline() != "sleep 999" || !strings.Contains(im.ExePath, "/bin/") {
		t.Errorf("image %+v", im)
	}
	var line []string
	for _, a := range p.table.Ancestors(nil, q, nil, p.now()) {
		line = append(line, fmt.Sprintf("%d:%s", a.PID, a.Image(1<<31).Name))
	}
	if want := fmt.Sprintf("%d:sh %d:", shell.Process.Pid, os.Getpid()); !strings.HasPrefix(strings.Join(line, " "), want) {
		t.Errorf("parents %v, want them to begin with %s", line, want)
	}
	if i := p.cgroups.Lookup(q.CgroupID, false); i == nil || i.Container != id {
		t.Errorf("container %+v, want %s", i, id)
	}
}

// cgroup2 is where the cgroups of version 2 are.
func cgroup2(t testing.TB) string {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			return dir
		}
	}
	t.Fatal("no cgroup v2")
	return ""
}
