//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tiercel-project/tiercel/bus"
)

// outsideNATS starts a NATS server on a port, with its files in dir.
func outsideNATS(t testing.TB, port int, dir string) *server.Server {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return srv
}

// A sensor without its bus watches and spools; killed in the middle and started again, it delivers what either of the two had read, once, in
// order and with the times of the kernel.
func TestSpool(t *testing.T) {
	dir, data := t.TempDir(), t.TempDir()
	rules := filepath.Join(dir, "rules.yaml")
	writeFile(t, rules, strings.NewReplacer("fd.name=FILE", "fd.name startswith "+dir+"/marker", "TEXT", "read").Replace(markerRules))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
	sensor := func() *process {
		t.Helper()
		p := start(t, "sensor", "--data", data, "--http", "", "--node", "e2e", "--rules", rules, "--nats", fmt.Sprintf("nats://127.0.0.1:%d", port))
		p.stderr.waitFor(t, 2*time.Minute, `msg="watching the kernel"`)
		return p
	}
	var times []time.Time
	read := func(p *process, n int) {
		t.Helper()
		for range n {
			file := filepath.Join(dir, fmt.Sprintf("marker-%03d", len(times)))
			writeFile(t, file, "x")
			times = append(times, time.Now())
			if out, err := exec.Command("cat", file).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		p.stdout.waitFor(t, time.Minute, fmt.Sprintf("marker-%03d", len(times)-1))
	}
	first := sensor()
	first.stderr.waitFor(t, time.Minute, "the bus is out of reach")
	read(first, 30)
	// An alert is printed a moment before its event is kept.
	eventually(t, "the last event is in the spool", func() bool {
		segments, _ := filepath.Glob(filepath.Join(data, "spool", "*.spool"))
		return slices.ContainsFunc(segments, func(name string) bool {
			text, err := os.ReadFile(name)
			return err == nil && bytes.Contains(text, []byte("marker-029"))
		})
	})
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.done
	second := sensor()
	second.stderr.waitFor(t, time.Minute, "messages of an earlier process wait in the spool.*messages=30")
	read(second, 20)
	outsideNATS(t, port, t.TempDir())
	conn, err := bus.Connect(t.Context(), bus.Config{Name: "test", URL: fmt.Sprintf("nats://127.0.0.1:%d", port), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	var got []*bus.Event
	eventually(t, "everything arrives", func() bool {
		got = eventsOn(t, conn)
		return len(got) >= len(times)
	})
	if len(got) != len(times) {
		t.Errorf("%d events, want %d", len(got), len(times))
	}
	ids := map[string]bool{}
	for i, ev := range got {
		if want := fmt.Sprintf("marker-%03d", i); !strings.Contains(string(ev.Data), want) {
			t.Errorf("event %d is not of %s: %s", i, want, ev.Data)
		}
		if d := ev.Time.Sub(times[i]); d < -time.Second || d > time.Minute {
			t.Errorf("event %d has a time %v after its cause", i, d)
		}
		ids[ev.ID] = true
	}
	if len(ids) != len(got) {
		t.Errorf("%d ids for %d events", len(ids), len(got))
	}
	if code := second.terminate(); code != 0 {
		t.Errorf("after SIGTERM the exit code is %d", code)
	}
	if segments, _ := filepath.Glob(filepath.Join(data, "spool", "*.spool")); len(segments) != 1 {
		t.Errorf("segments are left: %q", segments)
	}
}

// eventsOn returns what EVENTS holds, in its order; nothing while there is no stream.
func eventsOn(t testing.TB, b *bus.Bus) []*bus.Event {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), bus.StreamEvents)
	if err != nil {
		return nil
	}
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var events []*bus.Event
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq && seq > 0; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		ev, err := bus.Unmarshal(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, ev)
	}
	return events
}
