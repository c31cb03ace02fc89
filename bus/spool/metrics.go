package spool

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Why messages were lost: values of the label reason.
const (
	lostFull    = "full"    // the spool had reached its size
	lostDamaged = "damaged" // what the disk gave back is not what was written
)

// metrics are the figures of a spool.
type metrics struct {
	messages, alone, bytes, limit prometheus.Gauge
	lost                          *prometheus.CounterVec
	errors                        prometheus.Counter
	recovered                     prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "tiercel", Subsystem: "bus", Name: name, Help: help})
		r.MustRegister(g)
		return g
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tiercel", Subsystem: "bus", Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	m := &metrics{
		messages: gauge("spool_messages", "Messages on disk that wait for an acknowledgement."),
		alone:    gauge("spool_messages_in_memory_alone", "Messages that went from the full spool and still wait in memory: the end of the process loses them."),
		bytes:    gauge("spool_size_bytes", "Size of the spool's files."),
		limit:    gauge("spool_limit_bytes", "Size at which the spool drops its oldest messages."),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tiercel", Subsystem: "bus", Name: "spool_messages_lost_total",
			Help: "Messages that the spool lost: it was full, or the disk damaged them.",
		}, []string{"reason"}),
		errors:    counter("spool_errors_total", "Messages that could not be written to the spool, and were kept in memory alone, and failures to read or sync it."),
		recovered: counter("spool_messages_recovered_total", "Messages that an earlier process left."),
	}
	r.MustRegister(m.lost)
	for _, reason := range []string{lostFull, lostDamaged} {
		m.lost.WithLabelValues(reason)
	}
	return m
}
