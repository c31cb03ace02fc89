package bus

import (
	"slices"
	"sync"
	"testing"
	"time"
)

func BenchmarkPublish(b *testing.B) {
	bus := newBus(b)
	l := newLedger()
	cfg := l.config()
	acked := make(chan struct{}, 1)
	n, want := 0, -1
	var mu sync.Mutex
	cfg.OnAck = func(*Message) {
		mu.Lock()
		defer mu.Unlock()
		if n++; n == want {
			signal(acked)
		}
	}
	p := NewPublisher(bus, cfg)
	run(b, p)
	e := sampleEvent()
	ids := NewIDs("n")
	sent := 0
	b.ReportAllocs()
	for b.Loop() {
		for p.Pending() > 4096 { // what a source that is paced by its ring does
			<-time.After(50 * time.Microsecond)
		}
		e.ID = ids.New(e.Time)
		if err := p.Publish(testSubject, e); err != nil {
			b.Fatal(err)
		}
		sent++
	}
	mu.Lock()
	want = sent
	done := n >= want
	mu.Unlock()
	if !done {
		<-acked
	}
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkPublishAck measures Publish to acknowledgement of single events: percentiles in microseconds.
func BenchmarkPublishAck(b *testing.B) {
	b.Run("in process", func(b *testing.B) { publishAck(b, newBus(b)) })
	b.Run("loopback", func(b *testing.B) {
		o := startOutside(b)
		bus := o.connect(b)
		if err := bus.EnsureStreams(b.Context(), RoleSensor); err != nil {
			b.Fatal(err)
		}
		publishAck(b, bus)
	})
	b.Run("sync always", func(b *testing.B) {
		bus := connect(b, startServer(b, b.TempDir(), func(c *ServerConfig) { c.SyncAlways = true }))
		if err := bus.EnsureStreams(b.Context(), RoleSensor); err != nil {
			b.Fatal(err)
		}
		publishAck(b, bus)
	})
}

func publishAck(b *testing.B, bus *Bus) {
	p := NewPublisher(bus, DefaultPublisherConfig())
	run(b, p)
	e := sampleEvent()
	ids := NewIDs("n")
	var took []time.Duration
	for b.Loop() {
		e.ID = ids.New(e.Time)
		begin := time.Now()
		if err := p.PublishSync(b.Context(), testSubject, e); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
