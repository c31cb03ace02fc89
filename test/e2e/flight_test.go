//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What a container did before anybody asked comes out of the flight recorder of the sensor that runs, and a rule that was not loaded then
// matches it.
func TestFlightRecord(t *testing.T) {
	_, data := startRun(t)
	id := newContainerID()
	c := runContainer(t, id, "5d1f6f0e-6a53-4f0b-9d0e-7f4f3b1f9a55", newNetns(t))
	if out, err := c.exec("sh", "-c", "echo x >/tmp/made; busybox mv /tmp/made /tmp/hidden; busybox rm /tmp/hidden; :").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := t.TempDir()
	rule, file := filepath.Join(dir, "rule.yaml"), filepath.Join(dir, "before.capture")
	writeFile(t, rule, `
- rule: Renamed
  desc: a file got another name
  condition: evt.type in (rename, renameat, renameat2) and fs.path.target=/tmp/hidden
  output: was %fs.path.source in %container.id by %proc.cmdline under %proc.pname
  priority: NOTICE
`)
	var alerts string
	eventually(t, "the record holds the rename", func() bool {
		_ = os.Remove(file)
		out, stderr, code := command(t, "sensor", "record", "--container", id[:12], "--last", "10m", "-o", file, "--data", data, "--node", "e2e")
		if strings.Contains(stderr, "nothing is recorded") {
			return false // the sensor has not come so far
		}
		if code != 0 || !strings.Contains(out, "events of "+id[:12]) {
			t.Fatalf("record: exit code %d\n%s%s", code, out, stderr)
		}
		alerts = tiercel(t, "sensor", "replay", file, "--rules", rule)
		return strings.Contains(alerts, "/tmp/made")
	})
	// Busybox starts its applets as /proc/self/exe.
	for _, want := range []string{"was /tmp/made in " + id[:12], " mv /tmp/made /tmp/hidden under sh"} {
		if !strings.Contains(alerts, want) {
			t.Errorf("the replay has no %q:\n%s", want, alerts)
		}
	}
	_, stderr, code := command(t, "sensor", "record", "--container", id[:12], "-o", filepath.Join(dir, "none.capture"), "--data", data, "--node", "nobody")
	if code != 1 || !strings.Contains(stderr, `no sensor answers for node "nobody"`) || !strings.Contains(stderr, "hint: ") {
		t.Errorf("another node's record: exit code %d\n%s", code, stderr)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 || time.Since(info.ModTime()) > time.Minute {
		t.Errorf("the file: %v %v", info, err)
	}
}
