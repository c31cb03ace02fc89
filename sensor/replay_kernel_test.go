//go:build kernel

package sensor

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor/output"
)

const recordedRules = `
- rule: Shadow by child
  desc: d
  condition: evt.type in (open, openat, openat2) and evt.is_open_read=true and fd.name=/etc/shadow and proc.env[TIERCEL_REPLAY]=%MARK%
  output: Read | %proc.cmdline parent=%proc.pname grandparents=%proc.aname[2] user=%user.name num=%evt.num exe=%proc.exepath time=%evt.time
  priority: WARNING
- rule: Exec by child
  desc: d
  condition: evt.type=execve and proc.env[TIERCEL_REPLAY]=%MARK%
  output: Started | %proc.cmdline in %proc.cwd duration=%proc.pid.ts container=%container.id lineage=%proc.ppid
  priority: NOTICE
`

// TestReplayLive: a scenario of real processes, recorded beside a running sensor, gives the same alerts when it is replayed.
func TestReplayLive(t *testing.T) {
	w, name := newCapture(t, 0)
	mark := strings.ReplaceAll(t.TempDir(), "/", "_")
	set, report := rules.Load([]rules.File{{Name: "test.yaml", Data: []byte(strings.ReplaceAll(recordedRules, "%MARK%", mark))}},
		rules.Options{Hostname: "box", Provider: Provider()})
	if set == nil {
		t.Fatal(report.Err())
	}
	out, log := newSyncBuffer(), newSyncBuffer()
	cfg := DefaultConfig()
	cfg.Hostname, cfg.Format, cfg.RuntimeSockets = "box", output.JSON, nil
	s, err := New(cfg, Deps{
		Rules: set, Capture: w, Stdout: out, Log: slog.New(slog.NewTextHandler(log, nil)), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	log.waitFor(t, "watching the kernel")
	cmd := exec.Command("/bin/sh", "-c", "cat /etc/shadow >/dev/null; (/bin/cat /etc/shadow; head -c1 /etc/shadow) >/dev/null; true")
	cmd.Env = append(os.Environ(), "TIERCEL_REPLAY="+mark)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	out.waitFor(t, "head -c1 /etc/shadow parent")
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	live := out.String()
	if n := strings.Count(live, "\n"); n != 7 { // sh, cat, cat, head started; three reads
		t.Errorf("%d alerts, want 7", n)
	}
	got, err := replayed(t, name, set)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(live, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("(-live +replayed):\n%s", diff)
	}
	t.Logf("%d events, %d bytes", w.Events(), w.Size())
}
