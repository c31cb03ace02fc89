package sensor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// TestThrottle: a rule that runs away with one target is held back there, said so once, and counted; other targets and other rules are not
// affected; and under "first" a match that is held back does not go to the next rule.
func TestThrottle(t *testing.T) {
	b := startBus(t)
	got := events(t, b)
	r := start(t, func(c *Config, d *Deps) {
		c.ThrottleRate, c.ThrottleBurst = 1, 50
		d.Bus, d.Rules = b, load(t, testRules+`
- rule: Any read
  desc: comes after Read shadow
  condition: evt.type=openat
  output: Any | file=%fd.name
  priority: NOTICE
`)
	})
	const victim = "/docker/" + containerID
	r.src.events <- cgroup(1, "/user.slice")
	r.src.events <- cgroup(2, victim)
	flood := func(n int, cg uint64) {
		for range n {
			k := task(20+uint32(cg), "cat")
			k.CgroupID = cg
			r.src.events <- shadow(k)
		}
	}
	flood(500, 1)
	flood(20, 2)
	r.src.events <- shell(func() event.Task { k := task(30, "sh"); k.ExecGen = 1; return k }())
	r.out.waitFor(t, "Shell started")
	r.stop() // some may have waited for the names of their container
	out := r.out.String()
	if n := strings.Count(out, `"container.id":"host"`); n != 50 {
		t.Errorf("%d alerts of the runaway target, want 50", n)
	}
	if n := strings.Count(out, `"container.id":"001122334455"`); n != 20 {
		t.Errorf("%d alerts of the other target, want 20", n)
	}
	if n := strings.Count(out, "Any |"); n != 0 {
		t.Errorf("the next rule got %d events", n)
	}
	if n := strings.Count(out, throttledRule); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, out)
	}
	if n := testutil.ToFloat64(r.metrics.throttled.WithLabelValues("Warning")); n != 450 {
		t.Errorf("%v counted, want 450", n)
	}
	for {
		ev := receive(t, got)
		if ev.Type != bus.TypeRuleThrottled {
			continue
		}
		if !strings.Contains(string(ev.Data), `"rule":"Read shadow"`) || ev.Rule != throttledRule {
			t.Errorf("event of rule %s: %s", ev.Rule, ev.Data)
		}
		return
	}
}

// TestThrottleRefills: in the long run a target gets the rate, and an episode ends once it has been quiet.
func TestThrottleRefills(t *testing.T) {
	th := newThrottle(10, 20)
	rule := &rules.Rule{}
	rule.Name = "x"
	ended := uint64(0)
	th.ended = func(_ string, _ target, held uint64) { ended += held }
	taken, held := 0, 0
	for ms := range 10000 {
		ev := &event.Event{BootNS: uint64(ms) * uint64(time.Millisecond), Task: event.Task{CgroupID: 1}}
		if th.take(rule, ev, container.HostIdentity) {
			taken++
		} else {
			held++
		}
	}
	if taken < 118 || taken > 121 { // 20 at once, then 10 a second
		t.Errorf("%d of 10,000 in 10 s left, want about 120", taken)
	}
	th.expire(uint64(11 * time.Second))
	if len(th.buckets) != 1 || ended != 0 {
		t.Errorf("%d buckets, %d ended too early", len(th.buckets), ended)
	}
	th.expire(uint64(13 * time.Second))
	if len(th.buckets) != 0 || ended != uint64(held) {
		t.Errorf("%d buckets left, %d said to be held back of %d", len(th.buckets), ended, held)
	}
}

// TestThrottleBounded: however many targets there are, the state is bounded, and those beyond share one.
func TestThrottleBounded(t *testing.T) {
	th := newThrottle(1, 5)
	rule := &rules.Rule{}
	rule.Name = "x"
	taken := 0
	for i := range 2 * maxBuckets {
		ev := &event.Event{BootNS: 1, Task: event.Task{CgroupID: uint64(i + 1)}}
		if th.take(rule, ev, container.HostIdentity) {
			taken++
		}
	}
	if n := len(th.buckets); n > maxBuckets+1 || taken != maxBuckets+5 {
		t.Errorf("%d buckets, %d left", n, taken)
	}
	if got := fmt.Sprint(target{container: "a"}, target{cgroup: 7}); got != "container a cgroup 7 of the host" {
		t.Error(got)
	}
}
