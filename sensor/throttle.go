package sensor

import (
	"fmt"
	"time"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// A target is what a rule's matches are counted by: a container, or a cgroup of the host.
type target struct {
	container string
	cgroup    uint64
}

// otherTargets stands for those that found no place of their own.
var otherTargets = target{container: "other"}

func targetOf(ev *event.Event, id *container.Identity) target {
	if id.Container != "" {
		return target{container: id.Container}
	}
	return target{cgroup: ev.Task.CgroupID}
}

func (t target) String() string {
	if t.container != "" {
		return "container " + t.container
	}
	return fmt.Sprintf("cgroup %d of the host", t.cgroup)
}

// maxBuckets bounds the pairs of rule and target that are counted at a time. One that is quiet is forgotten within seconds.
const maxBuckets = 8192

// A throttle holds a rule that runs away with one target back, by the times of the events: the same events give the same answers. The zero
// throttle holds nothing back. It belongs to the pipeline, whose mu guards it.
type throttle struct {
	every uint64 // ns for each match in the long run; 0: off
	depth uint64 // ns of matches that may come at once
	now   uint64 // the latest time seen

	buckets map[bucketKey]*bucket
	// began is told of the first match of an episode that is held back, ended how many were, once it is over. Either may be nil.
	began func(r *rules.Rule, ev *event.Event, id *container.Identity)
	ended func(rule string, t target, held uint64)
}

type bucketKey struct {
	rule string
	target
}

// A bucket is how much of its rate one rule has used on one target.
type bucket struct {
	full uint64 // time at which all that was used is given back
	held uint64 // in this episode
}

func newThrottle(rate, burst int) throttle {
	if rate <= 0 {
		return throttle{}
	}
	every := uint64(time.Second) / uint64(rate)
	return throttle{every: every, depth: every * uint64(burst), buckets: map[bucketKey]*bucket{}}
}

// take reports whether this match of r may leave.
func (t *throttle) take(r *rules.Rule, ev *event.Event, id *container.Identity) bool {
	if t.every == 0 {
		return true
	}
	t.now = max(t.now, ev.BootNS)
	k := bucketKey{r.Name, targetOf(ev, id)}
	b := t.buckets[k]
	if b == nil {
		if len(t.buckets) >= maxBuckets {
			k.target = otherTargets
			b = t.buckets[k]
		}
		if b == nil {
			b = new(bucket)
			t.buckets[k] = b
		}
	}
	full := max(b.full, t.now) + t.every
	if full-t.now <= t.depth {
		b.full = full
		return true
	}
	if b.held++; b.held == 1 && t.began != nil {
		t.began(r, ev, id)
	}
	return false
}

// expire forgets the pairs that have all of their rate again at time now, and ends their episodes.
func (t *throttle) expire(now uint64) {
	t.now = max(t.now, now)
	for k, b := range t.buckets {
		if b.full > t.now {
			continue
		}
		delete(t.buckets, k)
		if b.held > 0 && t.ended != nil {
			t.ended(k.rule, k.target, b.held)
		}
	}
}

const throttledRule = "Tiercel internal: rule throttled"

// throttled tells once that a rule runs away with a target.
func (r *reporter) throttled(rule *rules.Rule, ev *event.Event, id *container.Identity) {
	t := targetOf(ev, id)
	fields := []rules.OutputField{{Name: "rule", Value: rule.Name}, {Name: "rate", Value: int64(r.s.cfg.ThrottleRate)}}
	if id.Container != "" {
		fields = append(fields, rules.OutputField{Name: "container.id", Value: id.Short()})
	} else {
		fields = append(fields, rules.OutputField{Name: "cgroup", Value: t.cgroup})
	}
	if id.Info != nil && id.Info.Pod.Name != "" {
		fields = append(fields, rules.OutputField{Name: "k8s.ns.name", Value: id.Info.Pod.Namespace},
			rules.OutputField{Name: "k8s.pod.name", Value: id.Info.Pod.Name})
	}
	r.s.log.Warn("rule throttled: it matches too often for one target", "rule", rule.Name, "target", t.String())
	r.internal(throttledRule, rules.Warning,
		fmt.Sprintf("Rule matches too often for one target and is held to %d a second there | rule=%s target=%s", r.s.cfg.ThrottleRate, rule.Name, t),
		fields, bus.TypeRuleThrottled)
}

// unthrottled says how many matches were held back.
func (r *reporter) unthrottled(rule string, t target, held uint64) {
	r.s.log.Info("rule no longer throttled", "rule", rule, "target", t.String(), "held_back", held)
}
