package bus

import (
	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
)

// serverMetrics reads the embedded server's figures when they are asked for. Streams that are not ours have no label value.
type serverMetrics struct {
	srv     *server.Server
	names   map[string]string // stream → label value
	bytes   *prometheus.Desc
	limit   *prometheus.Desc
	msgs    *prometheus.Desc
	clients *prometheus.Desc
	slow    *prometheus.Desc
}

func newServerMetrics(srv *server.Server) *serverMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tiercel_bus_"+name, help, labels, nil)
	}
	m := &serverMetrics{
		srv: srv, names: make(map[string]string),
		bytes:   desc("stream_bytes", "Bytes that a stream or bucket of the embedded server holds.", "stream"),
		limit:   desc("stream_limit_bytes", "Bytes that it may hold.", "stream"),
		msgs:    desc("stream_messages", "Messages that it holds.", "stream"),
		clients: desc("server_connections", "Connections to the embedded server."),
		slow:    desc("server_slow_consumers_total", "Connections that the embedded server closed since they did not read."),
	}
	for _, s := range streamTable() {
		m.names[s.Name] = s.shortName()
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *serverMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.bytes, m.limit, m.msgs, m.clients, m.slow} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *serverMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(m.clients, float64(m.srv.NumClients()))
	ch <- prometheus.MustNewConstMetric(m.slow, prometheus.CounterValue, float64(m.srv.NumSlowConsumers()))
	info, err := m.srv.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Config: true})
	if err != nil {
		return // the server is ending
	}
	for _, a := range info.AccountDetails {
		for i := range a.Streams {
			s := &a.Streams[i]
			name, ok := m.names[s.Name]
			if !ok {
				continue
			}
			gauge(m.bytes, float64(s.State.Bytes), name)
			gauge(m.msgs, float64(s.State.Msgs), name)
			if s.Config != nil {
				gauge(m.limit, float64(s.Config.MaxBytes), name)
			}
		}
	}
}
