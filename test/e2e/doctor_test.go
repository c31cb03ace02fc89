//go:build e2e

package e2e

import (
	"net"
	"strings"
	"testing"
	"time"
)

// Beside a sensor that runs, doctor tells of its rings, and loads the programs a second time to see whether they do.
func TestDoctor(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	data := t.TempDir()
	p := start(t, "run", "--data", data, "--http", addr, "--node", "e2e")
	p.stderr.waitFor(t, 2*time.Minute, `msg="watching the kernel"`)
	out, stderr, _ := command(t, "doctor", "--data", data, "--http", addr)
	for _, want := range []string{"backend T (tracepoints) loads and attaches", "rings: event", "NATS answers at", "JetStream: ", "memory of functions is reset by"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s%s", want, out, stderr)
		}
	}
	if strings.Contains(out, "UNKNOWN") {
		t.Errorf("something is unknown:\n%s", out)
	}
}
