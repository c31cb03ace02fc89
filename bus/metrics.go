package bus

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the figures of one connection and its publishers. Several in one process share them.
type metrics struct {
	connected     prometheus.Gauge
	reconnects    prometheus.Counter
	published     prometheus.Counter
	duplicates    prometheus.Counter
	retries       prometheus.Counter
	dropped       *prometheus.CounterVec
	publish       prometheus.Histogram
	queueMessages prometheus.Gauge
	queueBytes    prometheus.Gauge
}

// Why a publisher dropped a message: values of the label reason.
const (
	dropOverflow = "overflow" // the queue was full while the server was away or slow
	dropRefused  = "refused"  // the server will not have it
	dropTimeout  = "deadline" // it was given until a deadline to be stored
	dropShutdown = "shutdown" // the process ended first
)

func newMetrics(r prometheus.Registerer) *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "tiercel", Subsystem: "bus", Name: name, Help: help}
	}
	counter := func(name, help string) prometheus.Counter {
		return register(r, prometheus.NewCounter(prometheus.CounterOpts(opts(name, help))))
	}
	gauge := func(name, help string) prometheus.Gauge {
		return register(r, prometheus.NewGauge(prometheus.GaugeOpts(opts(name, help))))
	}
	m := &metrics{
		connected:  gauge("connected", "Whether the connection to NATS stands."),
		reconnects: counter("reconnects_total", "Connections to NATS that were made anew after a loss."),
		published:  counter("messages_published_total", "Messages that JetStream acknowledged."),
		duplicates: counter("messages_duplicate_total", "Acknowledged messages that the stream already had."),
		retries:    counter("messages_retried_total", "Messages that were sent again."),
		dropped: register(r, prometheus.NewCounterVec(prometheus.CounterOpts(
			opts("messages_dropped_total", "Messages that were given up, by reason.")), []string{"reason"})),
		publish: register(r, prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "tiercel", Subsystem: "bus", Name: "publish_duration_seconds",
			Help:    "From Publish to JetStream's acknowledgement.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18), // 50 µs to 6.5 s
		})),
		queueMessages: gauge("queue_messages", "Messages that wait for an acknowledgement."),
		queueBytes:    gauge("queue_bytes", "Bytes of the messages that wait for an acknowledgement."),
	}
	for _, reason := range []string{dropOverflow, dropRefused, dropTimeout, dropShutdown} {
		m.dropped.WithLabelValues(reason)
	}
	return m
}

// register registers c, or returns what is registered under its name already.
func register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	if r == nil {
		return c
	}
	err := r.Register(c)
	if are, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		return are.ExistingCollector.(C)
	}
	if err != nil {
		panic("bus: register metric: " + err.Error()) // two different metrics of one name: a programmer's mistake
	}
	return c
}
