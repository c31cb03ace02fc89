package sandbox

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	invocations *prometheus.CounterVec
	guest       prometheus.Histogram
	setup       prometheus.Histogram
	memory      prometheus.Histogram
	logDropped  prometheus.Counter
	products    *prometheus.CounterVec
	ok          prometheus.Counter // of invocations
}

func newMetrics(reg prometheus.Registerer, e *Engine) *metrics {
	m := &metrics{
		invocations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tiercel_runtime_sandbox_invocations_total",
			Help: "Invocations run, by how the guest ended: ok, the kind of its fault, or stopped by the host.",
		}, []string{"end"}),
		guest: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tiercel_runtime_sandbox_guest_seconds",
			Help:    "Guests' own time per invocation, without operations.",
			Buckets: prometheus.ExponentialBuckets(25e-6, 4, 10),
		}),
		setup: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tiercel_runtime_sandbox_setup_seconds",
			Help:    "Time to make and initialise an instance.",
			Buckets: prometheus.ExponentialBuckets(25e-6, 4, 10),
		}),
		memory: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tiercel_runtime_sandbox_memory_bytes",
			Help:    "Linear memory of guests at the end of an invocation.",
			Buckets: prometheus.ExponentialBuckets(64<<10, 4, 8),
		}),
		logDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tiercel_runtime_sandbox_log_lines_dropped_total",
			Help: "Log lines of guests that did not fit in their log limit.",
		}),
	}
	m.products = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tiercel_runtime_sandbox_products_total",
		Help: "Modules made ready, by what became of the stored product: used, kept, not kept, damaged.",
	}, []string{"end"})
	for _, end := range []string{"used", "kept", "not kept", "damaged"} {
		m.products.WithLabelValues(end)
	}
	m.ok = m.invocations.WithLabelValues("ok")
	for _, k := range Kinds {
		m.invocations.WithLabelValues(string(k))
	}
	if reg != nil {
		reg.MustRegister(m.invocations, m.guest, m.setup, m.memory, m.logDropped, m.products, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tiercel_runtime_sandbox_slots_free",
			Help: "Invocations that could start now.",
		}, func() float64 { return float64(e.Free()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tiercel_runtime_sandbox_idle_instances",
			Help: "Instances that are ready for their next event.",
		}, func() float64 { return float64(e.pool.len()) }))
	}
	return m
}

func (m *metrics) observe(r *Report, err error) {
	if err == nil {
		m.ok.Inc()
	} else if f, ok := errors.AsType[*Fault](err); ok {
		m.invocations.WithLabelValues(string(f.Kind)).Inc()
	} else {
		m.invocations.WithLabelValues("stopped").Inc()
	}
	m.guest.Observe(r.Guest.Seconds())
	m.setup.Observe(r.Setup.Seconds())
	m.memory.Observe(float64(r.Memory))
	if r.LogDropped > 0 {
		m.logDropped.Add(float64(r.LogDropped))
	}
}
