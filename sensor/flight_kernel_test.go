//go:build kernel

package sensor

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor/capture"
)

// askRecord asks the sensor for a flight record as the command line does.
func askRecord(t *testing.T, s *Sensor, container string) (data []byte, problem string) {
	t.Helper()
	nc := s.deps.Bus.Conn()
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	request, err := json.Marshal(RecordRequest{Container: container})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest(string(bus.NodeSubject("node-1", RecordOperation)), inbox, request); err != nil {
		t.Fatal(err)
	}
	for part := 1; ; part++ {
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if text := m.Header.Get(micro.ErrorHeader); text != "" {
			return nil, text
		}
		data = append(data, m.Data...)
		if m.Header.Get(HeaderParts) == strconv.Itoa(part) {
			return data, ""
		}
	}
}

// TestFlightRecord: what a container did that no rule asked for is in its flight record, and rules that ask for it match the record's
// replay, with the container's identity and the process's line.
func TestFlightRecord(t *testing.T) {
	s, _, _ := liveWith(t, strings.ReplaceAll(kernelRules, "%PORT%", "1"), func(*Config) {})
	b := newBundle(t, "/bin/sh", "-c", "echo x >/tmp/made; /bin/busybox mv /tmp/made /tmp/renamed; /bin/cat /etc/passwd >/dev/null; /bin/busybox rm /tmp/renamed; :")
	if err := os.Mkdir(filepath.Join(b.dir, "rootfs", "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(b.dir, "rootfs", "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	b.runc(t, "run", "--bundle", b.dir, b.name())

	short := b.id[:12]
	name := filepath.Join(t.TempDir(), "flight.capture")
	var got map[string]int
	waitUntil(t, "the record's replay gives all alerts", func() bool { // the sensor comes to what was done in its own time
		data, problem := askRecord(t, s, short)
		if strings.Contains(problem, ErrNotRecorded.Error()) {
			return false
		}
		if problem != "" {
			t.Fatal(problem)
		}
		put(t, name, data, 0o600)
		got = map[string]int{}
		replay := Replay{
			Rules: func(h capture.Header) (*rules.Set, error) {
				set, report := rules.Load([]rules.File{{Name: "r.yaml", Data: []byte(flightRules)}}, rules.Options{Hostname: h.Hostname, Matching: rules.All, Provider: Provider()})
				return set, report.Err()
			},
			Alert: func(a *rules.Alert) { got[a.Rule+" | "+a.Output]++ },
		}
		if err := replay.Run(name); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"Made | file=/tmp/made by=sh container=" + short,
			"Renamed | file=/tmp/made to=/tmp/renamed by=busybox parent=sh container=" + short,
			"Removed | file=/tmp/renamed by=busybox parent=sh container=" + short,
			"Started | command=cat /etc/passwd parent=sh container=" + short,
		} {
			if got[want] == 0 {
				t.Logf("no alert %q among %v yet", want, got)
				return false
			}
		}
		return true
	})
	if _, problem := askRecord(t, s, strings.Repeat("0", 64)); !strings.Contains(problem, ErrNotRecorded.Error()) || !strings.Contains(problem, short) {
		t.Errorf("asked for a container that is not there: %q", problem)
	}
	for text := range got {
		if !strings.HasSuffix(text, "container="+short) {
			t.Errorf("an alert of somebody else: %s", text)
		}
	}
	var host bytes.Buffer
	if n, err := s.FlightRecord(&host, "host", time.Minute); err != nil || n == 0 {
		t.Errorf("the host's record: %d events, %v", n, err)
	}
	if _, err := s.FlightRecord(&host, "", time.Minute); !errors.Is(err, ErrNotRecorded) {
		t.Errorf("a container without name: %v", err)
	}
}

const flightRules = `
- rule: Made
  desc: d
  condition: evt.type in (open, openat, openat2, creat) and fd.name startswith /tmp/
  output: file=%fd.name by=%proc.name container=%container.id
  priority: NOTICE
- rule: Renamed
  desc: d
  condition: evt.type in (rename, renameat, renameat2)
  output: file=%fs.path.source to=%fs.path.target by=%proc.name parent=%proc.pname container=%container.id
  priority: NOTICE
- rule: Removed
  desc: d
  condition: evt.type in (unlink, unlinkat) and fs.path.name startswith /tmp/
  output: file=%fs.path.name by=%proc.name parent=%proc.pname container=%container.id
  priority: NOTICE
- rule: Started
  desc: d
  condition: evt.type=execve and proc.name=cat
  output: command=%proc.cmdline parent=%proc.pname container=%container.id
  priority: NOTICE
`
