//go:build kernel

package sensor

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tiercel-project/tiercel/test/workload"
)

// Whatever a container calls a cgroup below its own, what runs there is the container's, to the kernel's filter too.
func TestNestedCgroups(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	put(t, file, []byte("x"), 0o600)
	s, _, _ := liveWith(t, fmt.Sprintf(`
- rule: Read secret in container
  desc: d
  condition: evt.type in (open, openat, openat2) and fd.name=%s and container.id != host
  output: Read
  priority: WARNING
`, file), func(*Config) {})
	var mu sync.Mutex
	var got []string
	p := &s.pipeline
	p.mu.Lock()
	p.report = func(m *match) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, m.id.Container)
	}
	p.mu.Unlock()
	g := workload.NewCgroup(t, 16)
	for i, name := range []string{"crio-conmon-x", strings.Repeat("b", 64), "lxc.payload.x"} {
		args := g.Below(t, name).Command("/bin/cat", file)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		waitUntil(t, name+" is seen", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(got) > i
		})
	}
	mu.Lock()
	defer mu.Unlock()
	for _, container := range got {
		if container != g.ID {
			t.Errorf("it is of container %s, want %s", container, g.ID)
		}
	}
}
