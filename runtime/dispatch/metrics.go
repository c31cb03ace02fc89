package dispatch

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what became of messages. A nil *Metrics counts nothing.
type Metrics struct {
	messages *prometheus.CounterVec
}

// NewMetrics registers the metrics of all consumers.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{messages: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tiercel_runtime_messages_total", Help: "Messages handled, by consumer and what became of them.",
	}, []string{"consumer", "verdict"})}
	reg.MustRegister(m.messages)
	return m
}

func (m *Metrics) settled(consumer string, v Verdict) {
	if m != nil {
		m.messages.WithLabelValues(consumer, v.String()).Inc()
	}
}
