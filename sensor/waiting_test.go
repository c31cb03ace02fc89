package sensor

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// A slowResolver answers when it is told to.
type slowResolver struct{ answer chan *container.Info }

func (s slowResolver) String() string { return "slow" }
func (s slowResolver) Resolve(ctx context.Context, _ container.ID) (*container.Info, error) {
	select {
	case in := <-s.answer:
		return in, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

const (
	testID  = "3ad7b26ded6d2ccc0a0b7e4a9b9d4f9e1c2d3e4f5a6b7c8d9e0f112233445566"
	testUID = "6c7f5a2e-0f4b-4b1d-9d8e-2a1b3c4d5e6f"
)

// inPod is a process of a container.
func inPod(pid uint32, comm string) event.Task {
	k := task(pid, comm)
	k.CgroupID, k.VPID = 7, 1
	return k
}

// TestWaiting: an event of a container that is not named yet waits, others pass it, and it leaves with the names.
func TestWaiting(t *testing.T) {
	res := slowResolver{make(chan *container.Info)}
	r := start(t, func(c *Config, d *Deps) {
		d.Resolvers = []container.Resolver{res}
		c.IdentityTimeout = 10 * time.Second
	})
	r.src.events <- cgroup(1, "/user.slice")
	r.src.events <- cgroup(7, "/kubepods/besteffort/pod"+testUID+"/"+testID)
	r.src.events <- shadow(inPod(20, "cat"))
	r.src.events <- shell(inPod(22, "cat")) // no rule can match it, whatever the names are
	r.src.events <- shell(task(21, "sh"))
	r.out.waitFor(t, "Shell started")
	r.pipeline.mu.Lock()
	if n := len(r.pipeline.waiting.queue); n != 1 {
		t.Errorf("%d events wait, want 1", n)
	}
	r.pipeline.mu.Unlock()
	if strings.Contains(r.out.String(), "Passwords read") {
		t.Fatal("the event did not wait")
	}
	res.answer <- &container.Info{Name: "app", Pod: container.Pod{Name: "web-0", Namespace: "prod"}}
	r.out.waitFor(t, "container="+testID[:12]+" pod=web-0")
	r.stop()
	if n := testutil.ToFloat64(r.metrics.waited.WithLabelValues(waitedKnown)); n != 1 {
		t.Errorf("%v events counted that waited", n)
	}
}

// TestUnresolved: when nobody tells the names in time, the event leaves without them, and says so; what finds the queue full does at once.
func TestUnresolved(t *testing.T) {
	b := startBus(t)
	got := events(t, b)
	r := start(t, func(c *Config, d *Deps) {
		d.Bus = b
		d.Resolvers = []container.Resolver{slowResolver{}}
		c.IdentityTimeout, c.Waiting = 200*time.Millisecond, 1
	})
	r.src.events <- cgroup(7, "/kubepods/besteffort/pod"+testUID+"/"+testID)
	r.src.events <- shadow(inPod(20, "one"))
	r.src.events <- shadow(inPod(20, "one"))
	for _, how := range []string{"overflow", "timeout"} {
		m, err := receive(t, got).Match()
		if err != nil {
			t.Fatal(err)
		}
		if m.Target.ContainerID != testID || m.Target.PodUID != testUID || m.Target.Pod != "" || !bytes.Contains(m.Fields, []byte(`"tiercel.identity":"unresolved"`)) {
			t.Errorf("%s: target %+v, fields %s", how, m.Target, m.Fields)
		}
	}
	r.stop()
	for _, outcome := range []string{waitedTimeout, waitedOverflow} {
		if n := testutil.ToFloat64(r.metrics.waited.WithLabelValues(outcome)); n != 1 {
			t.Errorf("%v events counted as %s", n, outcome)
		}
	}
}
