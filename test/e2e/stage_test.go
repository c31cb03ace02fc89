//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// The stage itself stands: a container in a namespace of its own reaches a listener in another.
func TestStage(t *testing.T) {
	pod, site := newNetns(t), newNetns(t)
	join(t, pod, "10.244.0.7", site, "203.0.113.10")
	site.listen(t, "203.0.113.10:443")
	c := runContainer(t, newContainerID(), "0b6f4c1e-8f6e-4a27-9c39-5a3a6a1f3a11", pod)
	if out, err := c.exec("nc", "-w", "30", "203.0.113.10", "443").CombinedOutput(); err != nil {
		t.Errorf("nc: %v\n%s", err, out)
	}
	if out, err := c.exec("nc", "-w", "1", "203.0.113.10", "444").CombinedOutput(); err == nil {
		t.Errorf("nc to a closed port succeeds: %s", out)
	}
	out, err := c.execTTY("busybox", "tty").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "/dev/pts/") {
		t.Errorf("a terminal in the container: %v\n%s", err, out)
	}
}
