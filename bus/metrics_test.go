package bus

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	cfg := DefaultServerConfig()
	cfg.DataDir = t.TempDir()
	s, err := StartServer(t.Context(), cfg, WithRegistry(reg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	b := connect(t, s, WithRegistry(reg))
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := NewPublisher(b, DefaultPublisherConfig())
	stop := run(t, p)
	if err := p.PublishSync(t.Context(), testSubject, numbered(1)); err != nil {
		t.Fatal(err)
	}
	connect(t, startServer(t, t.TempDir()), WithRegistry(reg)) // a second one shares them
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, pr := range problems {
		t.Errorf("%s: %s", pr.Metric, pr.Text)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	want := []string{
		"tiercel_bus_connected", "tiercel_bus_messages_dropped_total", "tiercel_bus_messages_duplicate_total", "tiercel_bus_messages_published_total",
		"tiercel_bus_messages_retried_total", "tiercel_bus_publish_duration_seconds", "tiercel_bus_queue_bytes", "tiercel_bus_queue_messages",
		"tiercel_bus_reconnects_total", "tiercel_bus_server_connections", "tiercel_bus_server_slow_consumers_total", "tiercel_bus_stream_bytes",
		"tiercel_bus_stream_limit_bytes", "tiercel_bus_stream_messages",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, f := range families {
		if f.GetName() != "tiercel_bus_stream_messages" {
			continue
		}
		if n := len(f.GetMetric()); n != len(streamTable()) {
			t.Errorf("%d streams have a figure, want %d", n, len(streamTable()))
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == StreamEvents && m.GetGauge().GetValue() != 1 {
				t.Errorf("EVENTS holds %v messages, want 1", m.GetGauge().GetValue())
			}
		}
	}
	stop()
	b.Close()
	s.Close()
	if _, err := reg.Gather(); err != nil { // a scrape that comes late
		t.Error(err)
	}
}
