//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/bus"
)

// restartConfig has no throttle: each open is to be found again.
const restartConfig = `
rules: [RULES]
throttle: {rate: 0, burst: 1}
`

const restartRules = `
- rule: Marker opened
  desc: d
  condition: evt.type in (open, openat, openat2) and evt.is_open_read=true and fd.name startswith DIR/marker-
  output: Opened | file=%fd.name
  priority: NOTICE
`

// A restart opens one file after the other, each of which a rule watches.
type restart struct {
	t     testing.TB
	dir   string
	files int
	made  atomic.Int64 // calls that have returned
}

// open makes n calls.
func (r *restart) open(n int) {
	for range n {
		fd, err := unix.Open(filepath.Join(r.dir, "marker-"+strconv.FormatInt(r.made.Load(), 10)), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			r.t.Error(err)
			return
		}
		_ = unix.Close(fd)
		r.made.Add(1)
	}
}

// A sensor that is asked to end under a flood matches everything that its rings hold, and the next one begins where it attaches: every call
// made before the signal was sent, and every one made after the second sensor watches, is on the bus once, or said to be lost.
func TestRestartUnderFlood(t *testing.T) {
	const burst = 8000
	r := &restart{t: t, dir: t.TempDir(), files: 26_000}
	data := t.TempDir()
	rules, config := filepath.Join(r.dir, "rules.yaml"), filepath.Join(r.dir, "config.yaml")
	writeFile(t, rules, strings.ReplaceAll(restartRules, "DIR", r.dir))
	writeFile(t, config, strings.ReplaceAll(restartConfig, "RULES", rules))
	for i := range r.files {
		writeFile(t, filepath.Join(r.dir, "marker-"+strconv.Itoa(i)), "x")
	}
	port := freePort(t)
	outsideNATS(t, port, t.TempDir())
	sensor := func() *process {
		t.Helper()
		p := start(t, "sensor", "--config", config, "--data", data, "--http", "", "--node", "e2e", "--nats", fmt.Sprintf("nats://127.0.0.1:%d", port))
		p.stderr.waitFor(t, 2*time.Minute, `msg="watching the kernel"`)
		return p
	}
	first := sensor()
	r.open(burst)
	before := r.made.Load()
	if err := first.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // calls go on while it ends, and while there is none
		defer close(stopped)
		for r.made.Load() < int64(r.files-burst) {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				r.open(1)
			}
		}
	}()
	if code := first.exit(time.Minute); code != 0 {
		t.Errorf("after SIGTERM the exit code is %d", code)
	}
	second := sensor()
	close(stop)
	<-stopped
	after := r.made.Load()
	r.open(burst)
	if code := second.terminate(); code != 0 {
		t.Errorf("after SIGTERM the exit code is %d", code)
	}
	r.check(port, before, after)
}

// check compares the calls but those from before to after with what is on the bus.
func (r *restart) check(port int, before, after int64) {
	t := r.t
	t.Helper()
	conn, err := bus.Connect(t.Context(), bus.Config{Name: "test", URL: fmt.Sprintf("nats://127.0.0.1:%d", port), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	seen := map[int64]int{}
	lost := 0.0
	for _, ev := range eventsOn(t, conn) {
		m, err := ev.Match()
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(m.OutputFields, &fields); err != nil {
			t.Fatal(err)
		}
		if ev.Type == bus.TypeRecordsLost {
			for name, v := range fields {
				if n, ok := v.(float64); ok && strings.HasPrefix(name, "lost.") && name != "lost.process" {
					lost += n
				}
			}
			continue
		}
		name, _ := fields["fd.name"].(string)
		if text, ok := strings.CutPrefix(name, filepath.Join(r.dir, "marker-")); ok {
			i, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			seen[i]++
		}
	}
	missing, twice := 0, 0
	for i := range r.made.Load() {
		switch {
		case seen[i] > 1:
			twice++
		case seen[i] == 0 && (i < before || i >= after):
			missing++
		}
	}
	if twice > 0 {
		t.Errorf("%d calls are on the bus more than once", twice)
	}
	if float64(missing) > lost {
		t.Errorf("%d of %d calls are missing, and %v are said to be lost", missing, before+r.made.Load()-after, lost)
	}
	t.Logf("%d calls before the signal, %d while no sensor watched, %d after; %d missing, %v said to be lost", before, after-before, r.made.Load()-after, missing, lost)
}

func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}
