//go:build kernel

package sensor

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tiercel-project/tiercel/sensor/kernel"
	"github.com/tiercel-project/tiercel/test/workload"
)

// neighbourRule watches one directory: what the neighbour opens is none of its business, which the kernel has to find out each time.
const neighbourRule = `
- rule: Read secret
  desc: d
  condition: evt.type in (open, openat, openat2) and evt.is_open_read=true and fd.name startswith %s/secret
  output: Read | file=%%fd.name
  priority: WARNING
`

// TestNeighbour: while two processes open and close a file that no rule is about as fast as they can, in a small ring, no record is lost, and
// each of another one's 100 reads matches once.
func TestNeighbour(t *testing.T) {
	const reads = 100
	dir := t.TempDir()
	s, _, _ := liveWith(t, fmt.Sprintf(neighbourRule, dir), func(c *Config) { c.RingBytes = 1 << 20 })
	var mu sync.Mutex
	got := map[string]int{}
	p := &s.pipeline
	p.mu.Lock()
	p.report = func(m *match) {
		mu.Lock()
		defer mu.Unlock()
		got[m.raw.Open.Path.Raw]++
	}
	p.mu.Unlock()
	before := opensDropped(t, s)
	program, other := workload.Build(t), filepath.Join(dir, "other")
	put(t, other, []byte("x"), 0o600)
	for range 2 {
		workload.Start(t, program, "open", "0", "0", other)
	}
	waitUntil(t, "the neighbours open files", func() bool { return opensDropped(t, s) > before+100_000 })
	for i := range reads {
		name := filepath.Join(dir, "secret-"+strconv.Itoa(i))
		put(t, name, []byte("x"), 0o600)
		if out, err := exec.Command("/bin/cat", name).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	waitUntil(t, "all reads match", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) == reads
	})
	mu.Lock()
	defer mu.Unlock()
	for name, n := range got {
		if n != 1 || !strings.HasPrefix(name, filepath.Join(dir, "secret-")) {
			t.Errorf("%d matches of %s", n, name)
		}
	}
	st, err := (*s.source.Load()).Stats()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range st.Rings {
		for _, l := range r.Lost {
			if l.Count > 0 {
				t.Errorf("%d records found no room in the ring %s: %s", l.Count, r.Name, l.Reason)
			}
		}
	}
	t.Logf("%d opens were dropped in the kernel", opensDropped(t, s)-before)
}

// opensDropped is how many opens the kernel filter has dropped.
func opensDropped(t testing.TB, s *Sensor) (n uint64) {
	t.Helper()
	k, ok := (*s.source.Load()).(*kernel.Sensor)
	if !ok {
		t.Fatal("not the kernel's sensor")
	}
	stats, err := k.FilterStats()
	if err != nil {
		t.Fatal(err)
	}
	for i := range stats {
		n += stats[i].Calls() - stats[i].Emitted
	}
	return n
}
