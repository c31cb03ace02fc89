package sensor

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// embedded are our own rules.
func embedded(b *testing.B) *rules.Set {
	b.Helper()
	files, err := rules.ReadFiles([]string{"../samples/rules/tiercel_rules.yaml"})
	if err != nil {
		b.Fatal(err)
	}
	set, report := rules.Load(files, rules.Options{Provider: Provider()})
	if set == nil {
		b.Fatal(report.Err())
	}
	return set
}

// BenchmarkPipeline takes opens that no rule matches through the pipeline, with our own rules: the price of an event in user space. It is
// what a flood costs.
func BenchmarkPipeline(b *testing.B) {
	s, err := New(DefaultConfig(), Deps{Rules: embedded(b), Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	p := &s.pipeline
	p.handle(cgroup(1, "/system.slice/x.service"))
	p.handle(shell(task(10, "worker")))
	for _, bb := range []struct {
		name string
		open event.Open
	}{
		{"read", event.Open{Path: event.Path{Raw: "/usr/lib/locale/C.utf8/LC_CTYPE", Resolved: "/usr/lib/locale/C.utf8/LC_CTYPE"}, Flags: unix.O_RDONLY, Type: 8}},
		{"write", event.Open{Path: event.Path{Raw: "out/x.o", Dir: "/build", Resolved: "/build/out/x.o"}, Flags: unix.O_WRONLY | unix.O_CREAT, Type: 8}},
		{"link", event.Open{Path: event.Path{Raw: "/lib/libc.so.6", Resolved: "/usr/lib/libc.so.6"}, Flags: unix.O_RDONLY, Type: 8}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			ev := shadow(task(10, "worker"))
			ev.Open = bb.open
			b.ReportAllocs()
			for b.Loop() {
				p.handle(ev)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
