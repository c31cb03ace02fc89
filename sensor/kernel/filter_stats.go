package kernel

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

// FilterStats says what the filter did with the calls of one event type since the sensor opened. Calls that no filter looked at are not
// counted.
type FilterStats struct {
	Type    field.EventType
	Dropped [filter.Stages]uint64 // by where it was decided
	Sampled uint64                // of those: emitted to be checked
	Emitted uint64                // some rule may match
	// Refused is why the kernel did not take the filter of the type, so that all of its events leave; nil if it did.
	Refused error
}

// Calls is how many calls the filter looked at.
func (f *FilterStats) Calls() uint64 {
	n := f.Emitted
	for _, d := range f.Dropped {
		n += d
	}
	return n
}

// FilterStats returns what the filter did, by event type: of those types that have one, or should.
func (s *Sensor) FilterStats() ([]FilterStats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed.Load():
		return nil, ErrClosed
	case s.filter == nil:
		return nil, nil
	}
	var all []FilterStats
	for _, f := range s.filter.plan.Sorted() {
		st := FilterStats{Type: f.Type, Refused: s.filter.refused[f.Type]}
		var counts []bpf.SensorFilterCount
		if err := s.coll.Maps[bpf.SensorMapFilterCounts].Lookup(uint32(f.Type), &counts); err != nil {
			return nil, fmt.Errorf("read counters of the filter: %w", err)
		}
		for _, c := range counts {
			for i, n := range c.Dropped {
				st.Dropped[i] += n
			}
			st.Sampled += c.Sampled
			st.Emitted += c.Emitted
		}
		all = append(all, st)
	}
	return all, nil
}

// refusal is why a filter was not taken, as metrics say it.
func refusal(err error) string {
	switch _, verifier := errors.AsType[*ebpf.VerifierError](err); {
	case errors.Is(err, filter.ErrTooLarge), errors.Is(err, errTries):
		return "too_large"
	case verifier:
		return "verifier"
	}
	return "failed"
}

// A filterCollector gives FilterStats to Prometheus.
type filterCollector struct {
	s                                             *Sensor
	dropped, sampled, emitted, refused, refusedBy *prometheus.Desc
}

func newFilterCollector(s *Sensor) *filterCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tiercel_sensor_filter_"+name, help, labels, nil)
	}
	return &filterCollector{
		s:       s,
		dropped: desc("dropped_total", "Calls that the kernel filter dropped, by what decided it: the call, its task, a sketch of its path, or its paths.", "event_type", "stage"),
		sampled: desc("sampled_total", "Of the calls that the kernel filter dropped: those that left the kernel to be checked.", "event_type"),
		emitted: desc("emitted_total", "Calls that the kernel filter let out, since some rule may match.", "event_type"),
		refused: desc("refused_total", "Filters that the kernel did not take: all events of their types are read."),
		refusedBy: desc("refused", "1 for each event type whose filter the kernel does not take now, so that all of its events are read, by why: "+
			"too_large, verifier, or failed.", "event_type", "reason"),
	}
}

// Describe implements prometheus.Collector.
func (c *filterCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.dropped, c.sampled, c.emitted, c.refused, c.refusedBy} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *filterCollector) Collect(ch chan<- prometheus.Metric) {
	stats, err := c.s.FilterStats()
	if err != nil {
		return
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for i := range stats {
		st := &stats[i]
		name := st.Type.String()
		for stage, n := range st.Dropped {
			counter(c.dropped, n, name, filter.Stage(stage).Name(st.Type))
		}
		counter(c.sampled, st.Sampled, name)
		counter(c.emitted, st.Emitted, name)
		if st.Refused != nil {
			ch <- prometheus.MustNewConstMetric(c.refusedBy, prometheus.GaugeValue, 1, name, refusal(st.Refused))
		}
	}
	counter(c.refused, c.s.filterRefused.Load())
}
