package sensor

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/output"
)

// Outcomes of waiting for an identity.
const (
	waitedKnown    = "known"
	waitedTimeout  = "timeout"
	waitedOverflow = "overflow"
)

// What came of reading long arguments.
const (
	argumentsRead    = "read"
	argumentsGone    = "gone"    // the program had ended, or was another one by then
	argumentsRefused = "refused" // too many in a second, or another pid namespace
)

// metrics are what the sensor counts. The rings' are sensor/kernel's.
type metrics struct {
	events       prometheus.Counter
	matches      *prometheus.CounterVec
	throttled    *prometheus.CounterVec
	read         prometheus.Histogram
	matched      prometheus.Histogram
	published    prometheus.Histogram
	total        prometheus.Histogram
	waited       *prometheus.CounterVec
	arguments    *prometheus.CounterVec
	cgroupMissed prometheus.Counter
	unpublished  prometheus.Counter
	shortened    prometheus.Counter
	reloads      *prometheus.CounterVec
	restored     *prometheus.CounterVec
	checked      prometheus.Counter
	unsound      prometheus.Counter
	rules        prometheus.Gauge
	stale        prometheus.Gauge
	start        prometheus.Gauge
}

// latencyBuckets go from 10 µs to 5 s.
var latencyBuckets = []float64{
	10e-6, 25e-6, 50e-6, 100e-6, 200e-6, 300e-6, 500e-6, 750e-6, 1e-3, 2e-3, 3e-3, 5e-3, 10e-3, 25e-3, 50e-3, .1, .25, .5, 1, 5,
}

const namespace, subsystem = "tiercel", "sensor"

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	histogram := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: name, Help: help, Buckets: latencyBuckets,
		})
		reg.MustRegister(h)
		return h
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help})
		reg.MustRegister(g)
		return g
	}
	return &metrics{
		events:       counter("events_total", "Events that were compared with the rules."),
		matches:      vec("matches_total", "Matches, by the rule's priority.", "priority"),
		throttled:    vec("matches_throttled_total", "Matches held back because their rule ran away with one target, by the rule's priority.", "priority"),
		read:         histogram("read_latency_seconds", "From the kernel's time of an event until it was read from the ring."),
		matched:      histogram("match_latency_seconds", "From reading an event until a rule matched it."),
		published:    histogram("publish_latency_seconds", "From a match until the bus acknowledged it."),
		total:        histogram("event_latency_seconds", "From the kernel's time of an event until the bus acknowledged its match."),
		waited:       vec("events_waited_total", "Events that waited for the names of their container, by what came of it.", "outcome"),
		arguments:    vec("arguments_completed_total", "Arguments longer than what the kernel side copies, by what came of reading the rest.", "outcome"),
		cgroupMissed: counter("cgroups_missed_total", "Events of a cgroup whose path the kernel side had not told."),
		unpublished:  counter("matches_unpublished_total", "Matches that the bus did not take: see the publisher's own metrics for why."),
		shortened:    counter("matches_shortened_total", "Matches with text cut to fit into an event."),
		restored:     vec("processes_restored_total", "Processes whose records were lost, found by reading them again, by what was found.", "change"),
		checked:      counter("filter_checked_total", "Events that the kernel filter would have dropped, compared with the rules to check it."),
		unsound:      counter("filter_unsound_total", "Rules that matched an event which the kernel filter would have dropped: 0, or there is a mistake."),
		reloads:      vec("rules_reloads_total", "Reloads of the rules, by result.", "result"),
		rules:        gauge("rules_enabled", "Enabled rules for system calls."),
		stale:        gauge("rules_stale", "1 if the last reload was rejected: the rules that run are not those of the files."),
		start:        gauge("start_duration_seconds", "From the start of the sensor until it watched the kernel; 0 before."),
	}
}

func seconds(ns uint64) float64 { return float64(ns) / 1e9 }

func (m *metrics) observeRead(ev *event.Event) {
	if ev.ReadNS >= ev.BootNS {
		m.read.Observe(seconds(ev.ReadNS - ev.BootNS))
	}
}

func (m *metrics) observeMatch(ev *event.Event, r *rules.Rule, now uint64) {
	m.matches.WithLabelValues(r.Priority.String()).Inc()
	if now >= ev.ReadNS && ev.ReadNS != 0 {
		m.matched.Observe(seconds(now - ev.ReadNS))
	}
}

// A collector gives the counters that the parts of a sensor keep themselves.
type collector struct {
	s *Sensor

	processes, processBytes, processEvicted, processRefused, processIncomplete, processReaped, processUnknown *prometheus.Desc
	processLiveBytes, processAbridged                                                                         *prometheus.Desc
	cgroups, cgroupEvicted, containers, containerResolved, containerUnresolved                                *prometheus.Desc
	userRoots, userBytes, userEvicted, userSkipped, userMissed                                                *prometheus.Desc
	waiting, alerts                                                                                           *prometheus.Desc
}

func newCollector(s *Sensor) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, labels, nil)
	}
	return &collector{
		s:                   s,
		processes:           desc("processes", "Processes in the table, ended ones included."),
		processBytes:        desc("process_text_bytes", "Arguments, environments and paths kept for processes."),
		processLiveBytes:    desc("process_text_living_bytes", "Of them, those of living processes and of such as have events that wait."),
		processAbridged:     desc("process_images_abridged_total", "Programs of living processes that lost environment and long arguments, or were forgotten, for want of room."),
		processEvicted:      desc("processes_evicted_total", "Ended processes that were forgotten early, for want of room."),
		processRefused:      desc("processes_refused_total", "Processes that found the table full of living ones."),
		processIncomplete:   desc("processes_incomplete_total", "Processes met without their fork or exec."),
		processReaped:       desc("processes_reaped_total", "Processes found dead whose exit was not seen."),
		processUnknown:      desc("process_images_unknown_total", "Events whose program was not kept: their process had started too many since."),
		cgroups:             desc("cgroups", "Cgroups whose path is known."),
		cgroupEvicted:       desc("cgroups_evicted_total", "Cgroups that were forgotten for want of room."),
		containers:          desc("containers", "Containers with a known cgroup."),
		containerResolved:   desc("containers_resolved_total", "Containers whose names a runtime told."),
		containerUnresolved: desc("containers_unresolved_total", "Containers whose names nobody told in time."),
		userRoots:           desc("user_roots", "Mount namespaces of containers, and the host, whose users and groups are known."),
		userBytes:           desc("user_bytes", "Memory that users and groups of containers take, about."),
		userEvicted:         desc("user_roots_evicted_total", "Mount namespaces whose users and groups were forgotten for want of room."),
		userSkipped:         desc("user_lines_skipped_total", "Lines of containers' passwd and group files beyond those that count."),
		userMissed:          desc("user_reads_missed_total", "Attempts to read users and groups: refused (no reader was free in time), late (the files took too long).", "reason"),
		waiting:             desc("events_waiting", "Events that wait for the names of their container."),
		alerts:              desc("output_alerts_total", "Alerts by output and what came of them: written, dropped (the queue was full), failed.", "output", "result"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.processes, c.processBytes, c.processEvicted, c.processRefused, c.processIncomplete, c.processReaped, c.processUnknown,
		c.processLiveBytes, c.processAbridged, c.cgroups, c.cgroupEvicted, c.containers, c.containerResolved, c.containerUnresolved,
		c.userRoots, c.userBytes, c.userEvicted, c.userSkipped, c.userMissed, c.waiting, c.alerts,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	p := &c.s.pipeline
	p.mu.Lock()
	procs, groups, waiting := p.table.Stats(), p.cgroups.Stats(), len(p.waiting.queue)
	p.mu.Unlock()
	users := p.users.Stats()
	gauge := func(d *prometheus.Desc, v int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(c.processes, procs.Processes)
	gauge(c.processBytes, procs.Bytes+procs.LiveBytes)
	gauge(c.processLiveBytes, procs.LiveBytes)
	counter(c.processAbridged, procs.Abridged)
	counter(c.processEvicted, procs.Evicted)
	counter(c.processRefused, procs.Refused)
	counter(c.processIncomplete, procs.Incomplete)
	counter(c.processReaped, procs.Reaped)
	counter(c.processUnknown, procs.Unknown)
	gauge(c.cgroups, groups.Cgroups)
	counter(c.cgroupEvicted, groups.Evicted)
	gauge(c.containers, groups.Containers)
	counter(c.containerResolved, groups.Resolved)
	counter(c.containerUnresolved, groups.Unresolved)
	gauge(c.userRoots, users.Roots)
	gauge(c.userBytes, users.Bytes)
	counter(c.userEvicted, users.Evicted)
	counter(c.userSkipped, users.Skipped)
	counter(c.userMissed, users.Refused, "refused")
	counter(c.userMissed, users.Late, "late")
	gauge(c.waiting, waiting)
	for _, o := range c.s.outputs.List {
		c.output(counter, o.Stats())
	}
}

func (c *collector) output(counter func(*prometheus.Desc, uint64, ...string), st output.Stats) {
	counter(c.alerts, st.Written, st.Name, "written")
	counter(c.alerts, st.Dropped, st.Name, "dropped")
	counter(c.alerts, st.Failed, st.Name, "failed")
}
