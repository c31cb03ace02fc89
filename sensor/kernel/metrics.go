package kernel

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/tiercel-project/tiercel/bpf"
)

// Stats counts what happened since Open.
type Stats struct {
	Rings     []RingStats
	Wakeups   uint64 // of the reader, by a ring
	Exempt    uint64 // calls and forks of the sensor itself that were passed over
	Others    uint64 // those of processes that are exempt as the sensor is
	Undecoded uint64 // records that were none: 0 unless object and decoder differ
	Limited   uint64 // events that did not leave for the flight recorder, beyond Config.RecordRate
}

// A RingStats counts the records of one ring.
type RingStats struct {
	Name     string // "process" or "event"
	Bytes    int    // size
	Used     uint64 // bytes that have not been read yet
	Received uint64 // records read
	Lost     []Loss // one for each reason, in a fixed order
}

// A Loss counts records that did not make it into a ring.
type Loss struct {
	// Reason is "full", "size", "scratch", "share": there was room, but not for that cgroup, or "unread": it was in the ring when Run
	// returned, which had no more time.
	Reason string
	Count  uint64
}

// Reasons of a loss, by index, as in bpf/c/maps.h.
var lossReasons = [...]string{"full", "size", "scratch", "share"}

// currentCall is the place of system calls among those that are in hand: CURRENT_CALL in bpf/c/call.h.
const currentCall = 0

// Stats returns what the rings received and lost so far.
func (s *Sensor) Stats() (Stats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return Stats{}, ErrClosed
	}
	st := Stats{Wakeups: s.wakeups.Load(), Undecoded: s.undecoded.Load()}
	for i := range s.selves {
		n, err := s.exempted(i)
		if err != nil {
			return Stats{}, err
		}
		if i == ownPlace {
			st.Exempt = n
		} else {
			st.Others += n
		}
	}
	var calls []bpf.SensorCall
	if err := s.coll.Maps[bpf.SensorMapCurrentCalls].Lookup(uint32(currentCall), &calls); err != nil {
		return Stats{}, fmt.Errorf("read counters: %w", err)
	}
	for i := range calls {
		st.Limited += calls[i].Limit.Events
	}
	for i, r := range s.rings {
		rs := RingStats{Name: r.name, Bytes: r.size, Used: r.used(), Received: r.received.Load()}
		for j, why := range lossReasons {
			n, err := perCPUSum(s.coll.Maps[bpf.SensorMapLost], uint32(i*len(lossReasons)+j))
			if err != nil {
				return Stats{}, err
			}
			rs.Lost = append(rs.Lost, Loss{Reason: why, Count: n})
		}
		rs.Lost = append(rs.Lost, Loss{Reason: "unread", Count: r.unread.Load()})
		st.Rings = append(st.Rings, rs)
	}
	return st, nil
}

func perCPUSum(m *ebpf.Map, key uint32) (uint64, error) {
	var values []uint64
	if err := m.Lookup(key, &values); err != nil {
		return 0, fmt.Errorf("read counters: %w", err)
	}
	var sum uint64
	for _, v := range values {
		sum += v
	}
	return sum, nil
}

// A collector gives Stats to Prometheus.
type collector struct {
	s                                                *Sensor
	received, lost, wakeups, exempt, undecoded, ring *prometheus.Desc
	used, backend, limited                           *prometheus.Desc
}

func newCollector(s *Sensor) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tiercel_sensor_"+name, help, labels, nil)
	}
	return &collector{
		s:         s,
		received:  desc("records_received_total", "Records read from a ring.", "ring"),
		lost:      desc("records_lost_total", "Records that did not make it into a ring.", "ring", "reason"),
		ring:      desc("ring_size_bytes", "Size of a ring.", "ring"),
		used:      desc("ring_used_bytes", "Of a ring: what has not been read yet.", "ring"),
		backend:   desc("backend", "1 for where paths of calls other than open come from: T, the program's memory; L, the kernel's copy.", "backend"),
		wakeups:   desc("reader_wakeups_total", "Times that a ring woke the reader."),
		exempt:    desc("calls_exempt_total", "System calls and forks that are no events: of the sensor itself, and of other processes that are exempt.", "process"),
		undecoded: desc("records_undecoded_total", "Records that could not be decoded."),
		limited:   desc("recorder_limited_total", "Events for the flight recorder alone that did not leave the kernel, beyond its rate."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.received, c.lost, c.ring, c.used, c.wakeups, c.exempt, c.undecoded, c.backend, c.limited} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	st, err := c.s.Stats()
	if err != nil {
		return
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for _, r := range st.Rings {
		counter(c.received, r.Received, r.Name)
		ch <- prometheus.MustNewConstMetric(c.ring, prometheus.GaugeValue, float64(r.Bytes), r.Name)
		ch <- prometheus.MustNewConstMetric(c.used, prometheus.GaugeValue, float64(r.Used), r.Name)
		for _, l := range r.Lost {
			counter(c.lost, l.Count, r.Name, l.Reason)
		}
	}
	counter(c.wakeups, st.Wakeups)
	counter(c.exempt, st.Exempt, "sensor")
	counter(c.exempt, st.Others, "other")
	counter(c.undecoded, st.Undecoded)
	counter(c.limited, st.Limited)
	ch <- prometheus.MustNewConstMetric(c.backend, prometheus.GaugeValue, 1, c.s.Backend())
}

func (s *Sensor) register() error {
	if s.cfg.Registerer == nil {
		return nil
	}
	c := newCollector(s)
	if err := s.cfg.Registerer.Register(c); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	s.collector = c
	f := newFilterCollector(s)
	if err := s.cfg.Registerer.Register(f); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	s.filterCollector = f
	return nil
}

func (s *Sensor) unregister() {
	if s.collector != nil {
		s.cfg.Registerer.Unregister(s.collector)
	}
	if s.filterCollector != nil {
		s.cfg.Registerer.Unregister(s.filterCollector)
	}
}
