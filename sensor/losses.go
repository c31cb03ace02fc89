package sensor

import (
	"cmp"
	"fmt"
	"time"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/kernel"
)

const lostRule = "Tiercel internal: records lost"

// hostName stands for a container where there is none.
const hostName = "host"

// maxCharged is how many containers have an event of their own in one look, those with the greatest losses: as many as losses are told apart of.
// The others share one, so that many containers that lose at once make no flood of events.
const maxCharged = maxTallied

// A losses tells when records were lost on the way out of the kernel, and whose.
type losses struct {
	s     *Sensor
	src   Source
	last  map[[2]string]uint64 // by ring and reason
	ahead map[string]uint64    // by ring: told of a container, not yet in the ring's counters
}

// newLosses returns a losses to which all that was lost so far is old.
func newLosses(s *Sensor, src Source) *losses {
	return &losses{s: s, src: src, last: map[[2]string]uint64{}, ahead: map[string]uint64{}}
}

// A charge is what one container, or one cgroup of the host, lost.
type charge struct {
	id   *container.Identity
	loss kernel.CgroupLoss
	path string
}

// look makes an event for each container that lost records since the last look, and one for each ring with the rest. It reports whether
// records of processes are among them.
func (l *losses) look() (processes bool) {
	st, err := l.src.Stats()
	if err != nil {
		l.s.log.Warn("counters of the rings not read", "err", err)
		return false
	}
	lost := map[string]uint64{}
	reasons := map[string][]rules.OutputField{}
	var all uint64
	for _, ring := range st.Rings {
		for _, loss := range ring.Lost { // in a fixed order
			k := [2]string{ring.Name, loss.Reason}
			n := loss.Count - l.last[k]
			l.last[k] = loss.Count
			lost[ring.Name] += n
			reasons[ring.Name] = append(reasons[ring.Name], rules.OutputField{Name: "lost." + loss.Reason, Value: n})
		}
		all += lost[ring.Name]
	}
	if all == 0 {
		return false
	}
	processes = lost[kernel.ProcessRing] > 0
	charges := l.charges()
	for _, c := range charges {
		l.s.lost.add(c.tally(l.s))
		l.ahead[kernel.ProcessRing] += c.loss.Process
		l.ahead[kernel.EventRing] += c.loss.Event
	}
	for _, c := range charges[:min(len(charges), maxCharged)] {
		l.tell(c)
	}
	if len(charges) > maxCharged {
		l.tellOthers(charges[maxCharged:])
	}
	for _, ring := range st.Rings {
		told := min(lost[ring.Name], l.ahead[ring.Name])
		l.ahead[ring.Name] -= told
		if n := lost[ring.Name] - told; n > 0 {
			l.tellRing(ring.Name, n, reasons[ring.Name])
		}
	}
	return processes
}

// charges returns what was lost by container, the greatest loss first.
func (l *losses) charges() []*charge {
	list, err := l.src.Losses()
	if err != nil {
		l.s.log.Warn("losses of containers not read", "err", err)
		return nil
	}
	p := &l.s.pipeline
	p.mu.Lock()
	defer p.mu.Unlock()
	var charges []*charge
	of := map[string]*charge{} // by container
	for _, loss := range list {
		id := p.cgroups.Lookup(loss.ID, loss.V1)
		if id == nil {
			id = container.UnknownIdentity
		}
		if c := of[id.Container]; c != nil && id.Container != "" {
			c.loss.Process += loss.Process
			c.loss.Event += loss.Event
			continue
		}
		c := &charge{id: id, loss: loss, path: p.cgroups.Path(loss.ID, loss.V1)}
		charges = append(charges, c)
		of[id.Container] = c
	}
	return charges
}

// target is whom the charge concerns.
func (c *charge) target(s *Sensor) *bus.Target {
	target := &bus.Target{
		Cluster: s.cfg.Cluster, Node: s.cfg.Node, CgroupID: bus.Uint64(c.loss.ID), ContainerID: c.id.Container, PodUID: c.id.PodUID,
	}
	name(target, c.id)
	return target
}

// who is the container's short id, or that it is none.
func (c *charge) who() string { return cmp.Or(c.id.Short(), hostName) }

func (c *charge) tally(s *Sensor) ContainerLoss {
	target := c.target(s)
	return ContainerLoss{
		Container: c.who(), Name: target.Container, Namespace: target.Namespace, Pod: target.Pod, Cgroup: c.path,
		Process: c.loss.Process, Event: c.loss.Event, Last: time.Now(),
	}
}

// tell says what a container lost.
func (l *losses) tell(c *charge) {
	target, who := c.target(l.s), c.who()
	fields := []rules.OutputField{
		{Name: "container.id", Value: who},
		{Name: "lost." + kernel.ProcessRing, Value: c.loss.Process},
		{Name: "lost." + kernel.EventRing, Value: c.loss.Event},
		{Name: "cgroup", Value: c.path},
	}
	if target.Pod != "" {
		fields = append(fields, rules.OutputField{Name: "k8s.ns.name", Value: target.Namespace}, rules.OutputField{Name: "k8s.pod.name", Value: target.Pod})
	}
	l.s.log.Warn("records were lost", "container", who, "cgroup", c.path, "process_records", c.loss.Process, "event_records", c.loss.Event)
	l.s.reporter.internalOf(target, lostRule, rules.Warning,
		fmt.Sprintf("Records of one container were lost on their way out of the kernel: more than its share | container=%s cgroup=%s process=%d event=%d",
			who, c.path, c.loss.Process, c.loss.Event), fields, bus.TypeRecordsLost)
}

// tellOthers says what those lost together that have no event of their own.
func (l *losses) tellOthers(charges []*charge) {
	var process, event uint64
	for _, c := range charges {
		process += c.loss.Process
		event += c.loss.Event
	}
	l.s.log.Warn("records were lost", "containers", len(charges), "process_records", process, "event_records", event)
	l.s.reporter.internal(lostRule, rules.Warning,
		fmt.Sprintf("Records of more containers were lost on their way out of the kernel: more than their shares | containers=%d process=%d event=%d",
			len(charges), process, event),
		[]rules.OutputField{
			{Name: "containers", Value: uint64(len(charges))},
			{Name: "lost." + kernel.ProcessRing, Value: process},
			{Name: "lost." + kernel.EventRing, Value: event},
		}, bus.TypeRecordsLost)
}

// tellRing says what a ring lost that no container is named for.
func (l *losses) tellRing(ring string, lost uint64, reasons []rules.OutputField) {
	l.s.log.Warn("records were lost", "ring", ring, "records", lost)
	l.s.reporter.internal(lostRule, rules.Warning,
		fmt.Sprintf("Records were lost on their way out of the kernel | ring=%s lost=%d", ring, lost),
		append(reasons, rules.OutputField{Name: "ring", Value: ring}), bus.TypeRecordsLost)
}
