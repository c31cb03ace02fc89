package sensor

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/extract"
	"github.com/tiercel-project/tiercel/sensor/filter"
	"github.com/tiercel-project/tiercel/sensor/process"
	"github.com/tiercel-project/tiercel/sensor/recorder"
)

// A pipeline takes events from the kernel to matches. The reader of the rings calls handle; housekeeping and those who learn the names of
// containers call the rest.
type pipeline struct {
	cgroups *container.Table
	users   *container.Users
	clock   *clock
	metrics *metrics
	now     func() uint64 // boot time
	report  func(m *match)
	wake    chan<- struct{} // tells housekeeping that somebody waits

	seesProcesses bool               // pids are the same here as in the kernel's records
	recording     *recording         // nil: nothing is recorded
	recorder      *recorder.Recorder // nil: it is off
	checkAll      bool               // compare with all rules whatever the kernel says, and see that it is right

	mu        sync.Mutex // guards all below
	table     *process.Table
	extract   *extract.Extractor
	judges    []judge // by generation
	waiting   waiting
	arguments budget
	matched   []*rules.Rule
	reported  match // the last of those
	throttle  throttle
	unsound   unsound
	unchecked int // events since the last that was compared with all rules, though the kernel excluded some
}

// A match is a rule that matched, with what is needed to tell of it. It is valid during report only.
type match struct {
	rule    *rules.Rule
	matcher *rules.Matcher
	raw     *event.Event
	event   *extract.Event
	id      *container.Identity
}

// A judge has the rules of the events of one generation.
type judge struct {
	generation uint32
	matcher    *rules.Matcher
	broad      *rules.Matcher // of those rules alone that events marked as event.Broad may match
	interest   field.EventSet
}

// checkEvery is of how many events that are compared with some rules only one is compared with all, to check what the kernel said.
const checkEvery = 10000

// maxJudges bounds the generations whose events may still be in the rings. Those of older ones are judged by the oldest left.
const maxJudges = 16

// setRules makes set the rules of the events from a generation on.
func (p *pipeline) setRules(set *rules.Set, generation uint32) {
	j := judge{
		generation: generation, matcher: set.NewMatcher(), broad: set.NewMatcherOf(isBroad), interest: set.EventTypes(extract.RuleSource),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.judges = append(p.judges, j); len(p.judges) > maxJudges {
		p.judges = slices.Delete(p.judges, 0, len(p.judges)-maxJudges)
	}
}

// judge returns the rules of an event: those of its generation.
func (p *pipeline) judge(ev *event.Event) *judge {
	for i := len(p.judges) - 1; i > 0; i-- {
		if p.judges[i].generation <= ev.Generation {
			return &p.judges[i]
		}
	}
	return &p.judges[0]
}

// isBroad reports whether r is one of those that events marked as event.Broad may match.
func isBroad(r *rules.Rule) bool {
	for t := range r.Program().EventTypes().All() {
		if filter.Broad(r.Program(), t) {
			return true
		}
	}
	return false
}

// matcher returns what ev is compared with: all rules, or those that the kernel could not exclude. check says that it is all of them to see
// that the kernel was right.
func (p *pipeline) matcher(ev *event.Event) (m *rules.Matcher, check bool) {
	j := p.judge(ev)
	if ev.Flags&event.Broad == 0 {
		return j.matcher, false
	}
	if p.unchecked++; p.unchecked < checkEvery && !p.checkAll {
		return j.broad, false
	}
	p.unchecked = 0
	return j.matcher, true
}

// handle takes one event. It keeps nothing of ev.
func (p *pipeline) handle(ev *event.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recording.event(ev)
	if ev.Cgroup.ID != 0 {
		if ev.Cgroup.Path == "" {
			p.cgroups.Drop(ev.Cgroup.ID, ev.Cgroup.V1)
		} else {
			p.cgroups.SetPath(ev.Cgroup.ID, ev.Cgroup.V1, ev.Cgroup.Path)
		}
		if ev.Task.PID == 0 {
			return
		}
	}
	proc := p.table.Apply(ev)
	if proc == nil || ev.Flags&event.ProcessOnly != 0 {
		return
	}
	if p.recorder.Wants(ev) {
		p.keep(ev)
	}
	if ev.Flags&event.Recorded != 0 || !p.judge(ev).interest.Has(ev.Type) {
		return
	}
	defer p.metrics.observeRead(ev) // once the alert has left
	id := p.identity(ev)
	root := p.loadNames(ev, proc, id)
	args := p.readArguments(ev, proc)
	if reading := !id.IsHost() && p.users.Reading(root); reading || id.State == container.Pending {
		if !p.mayMatch(ev, proc, id, args, reading) {
			p.metrics.events.Inc()
			return
		}
		if p.waiting.add(ev, proc, root, args, p.now()) {
			p.table.Pin(proc, ev.Task.ExecGen)
			p.rouse()
			return
		}
		p.metrics.waited.WithLabelValues(waitedOverflow).Inc()
		id = giveUp(id)
	}
	p.match(ev, proc, id, args)
}

// identity returns the identity of the process that did ev. The kernel tells the path of a cgroup before the first event of it; should
// that record have been lost, /proc tells as long as the process lives.
func (p *pipeline) identity(ev *event.Event) *container.Identity {
	v1 := ev.Flags&event.CgroupV1 != 0
	if id := p.cgroups.Lookup(ev.Task.CgroupID, v1); id != nil {
		return id
	}
	p.metrics.cgroupMissed.Inc()
	if p.seesProcesses && ev.Task.CgroupID != 0 {
		if path := cgroupOf(ev.Task.PID, v1); path != "" {
			return p.cgroups.SetPath(ev.Task.CgroupID, v1, path)
		}
	}
	return container.UnknownIdentity
}

// cgroupOf returns the path of the cgroup of pid in the unified hierarchy, or in that of the pids controller; empty if it cannot be read.
func cgroupOf(pid uint32, v1 bool) string {
	b, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/cgroup")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(b) {
		hierarchy, rest, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(":"))
		controllers, path, _ := bytes.Cut(rest, []byte(":"))
		if (!v1 && string(hierarchy) == "0") || (v1 && string(controllers) == "pids") {
			return string(path)
		}
	}
	return ""
}

// loadNames has the users and groups that ev's process sees read, unless they were, and returns whose they are. A process is asked for its
// root only if its program was started in its mount namespace: what prepares a container is not yet below the container's root. If it has
// ended by now, those are asked that it came from.
func (p *pipeline) loadNames(ev *event.Event, proc *process.Process, id *container.Identity) container.Root {
	root := extract.RootOf(id, ev.Task.MntNS)
	if id.IsHost() || !p.seesProcesses {
		return root // those of the host are read at the start, and kept fresh by tend
	}
	const generations = 8
	im, pid := proc.Image(ev.Task.ExecGen), ev.Task.PID
	for n := 0; im != nil && im.MntNS == ev.Task.MntNS && n < generations; n++ {
		if p.users.Load(root, pid, p.rouse) || p.users.Known(root) {
			break
		}
		if proc = proc.Origin(); proc == nil {
			break
		}
		im, pid = proc.ImageAt(ev.BootNS), proc.PID
	}
	return root
}

// rouse has waiting events looked at again.
func (p *pipeline) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// mayMatch reports whether ev could match once the names of its container, or of its users, are known. If not, it need not wait for them.
func (p *pipeline) mayMatch(ev *event.Event, proc *process.Process, id *container.Identity, args string, reading bool) bool {
	defer showArguments(ev, proc, args)()
	j := p.judge(ev)
	matcher := j.matcher
	if ev.Flags&event.Broad != 0 && !p.checkAll {
		matcher = j.broad
	}
	return matcher.MayMatch(p.extract.Bind(ev, proc, id), func(ref *field.Ref) bool { return extract.Unknown(ref, id, reading) })
}

// giveUp is id without the names that were waited for.
func giveUp(id *container.Identity) *container.Identity {
	if id.State != container.Pending {
		return id
	}
	return &container.Identity{ID: id.ID, State: container.Unresolved}
}

// match matches ev and reports the rules that do.
func (p *pipeline) match(ev *event.Event, proc *process.Process, id *container.Identity, args string) {
	shorten := showArguments(ev, proc, args)
	e := p.extract.Bind(ev, proc, id)
	matcher, check := p.matcher(ev)
	p.matched = matcher.Match(e, p.matched[:0])
	shorten()
	if check = check || ev.Flags&event.Dropped != 0; check {
		p.metrics.checked.Inc()
	}
	for _, r := range p.matched {
		if check && (ev.Flags&event.Dropped != 0 || !filter.Broad(r.Program(), ev.Type)) {
			p.metrics.unsound.Inc()
			p.unsound.tell(r, ev, e, p.now())
		}
		now := p.now()
		if !p.throttle.take(r, ev, id) { // the event is used up all the same: the next rule does not get it
			p.metrics.throttled.WithLabelValues(r.Priority.String()).Inc()
		} else {
			p.reported = match{rule: r, matcher: matcher, raw: ev, event: e, id: id}
			p.report(&p.reported)
		}
		p.metrics.observeMatch(ev, r, now)
	}
	p.metrics.events.Inc()
}

// release matches the events whose identity has become known, or whose time is up; with all, every one that waits. It returns the boot
// time at which the next one's time is up, 0 if none waits.
func (p *pipeline) release(all bool) (next uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	return p.waiting.each(func(w *waiter) (keep bool) {
		id := p.identity(w.ev)
		known := id.State != container.Pending && !p.users.Reading(w.root)
		if !known && !all && w.deadline > now {
			return true
		}
		if known && id.State != container.Unresolved {
			p.metrics.waited.WithLabelValues(waitedKnown).Inc()
		} else {
			p.metrics.waited.WithLabelValues(waitedTimeout).Inc()
		}
		p.match(w.ev, w.proc, giveUp(id), w.args)
		p.table.Unpin(w.proc)
		return false
	})
}

// tend does what is due every second. done is the boot time up to which all events have come: of the processes that have ended since, some may
// still come.
func (p *pipeline) tend(done uint64) {
	const sweepAtOnce, keepCgroups = 64, 30 * time.Second
	p.clock.set()
	p.recording.learn()
	p.users.Age()
	p.users.Load(container.Root{}, 0, nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.table.Expire(min(done, now))
	p.cgroups.Expire(keepCgroups)
	p.recorder.Expire(now)
	p.throttle.expire(now)
	p.table.Sweep(sweepAtOnce, now)
}
