package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const testSubject Subject = "tiercel.events.syscall.warning.r.ns.n"

// numbered is the i-th event of a test; its id is i.
func numbered(i int) *Event {
	return &Event{ID: fmt.Sprint(i), Source: "/t", Type: "t", Data: json.RawMessage(`"x"`)}
}

// A ledger notes what becomes of messages.
type ledger struct {
	mu     sync.Mutex
	acked  []string
	failed map[string]error
	change chan struct{} // capacity 1
}

func newLedger() *ledger { return &ledger{failed: map[string]error{}, change: make(chan struct{}, 1)} }

func (l *ledger) config() PublisherConfig {
	cfg := DefaultPublisherConfig()
	cfg.OnAck = func(m *Message) {
		l.mu.Lock()
		l.acked = append(l.acked, m.ID)
		l.mu.Unlock()
		signal(l.change)
	}
	cfg.OnError = func(m *Message, err error) {
		l.mu.Lock()
		l.failed[m.ID] = err
		l.mu.Unlock()
		signal(l.change)
	}
	return cfg
}

// wait waits until f holds; f may look at the ledger.
func (l *ledger) wait(t testing.TB, what string, f func() bool) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		l.mu.Lock()
		ok := f()
		n, bad := len(l.acked), len(l.failed)
		l.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-l.change:
		case <-timeout:
			t.Fatalf("waiting for %s: %d acknowledged, %d failed: %v", what, n, bad, l.failed)
		}
	}
}

// run runs p until the test, or the function returned, ends it.
func run(t testing.TB, p *Publisher) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// stored are the ids of the messages in EVENTS, in order.
func stored(t testing.TB, js jetstream.JetStream) []string {
	t.Helper()
	st, err := js.Stream(t.Context(), StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	state := st.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		m, err := st.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.Header.Get("Nats-Msg-Id"))
	}
	return ids
}

func upTo(from, n int) []string {
	var ids []string
	for i := from; i < n; i++ {
		ids = append(ids, fmt.Sprint(i))
	}
	return ids
}

func TestPublish(t *testing.T) {
	b := newBus(t)
	l := newLedger()
	p := NewPublisher(b, l.config())
	if p.Ready() == nil {
		t.Error("ready before Run")
	}
	const n = 5000
	for i := range n / 2 { // some before Run
		if err := p.Publish(testSubject, numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	stop := run(t, p)
	for i := n / 2; i < n; i++ {
		if err := p.Publish(testSubject, numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	l.wait(t, "all", func() bool { return len(l.acked) == n })
	if err := p.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	if diff := cmp.Diff(upTo(0, n), stored(t, b.JetStream())); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	stop()
	if err := p.Publish(testSubject, numbered(n)); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v, want ErrClosed", err)
	}
	if !errors.Is(p.Ready(), ErrClosed) {
		t.Errorf("after the end: Ready gives %v", p.Ready())
	}
	if n := testutil.ToFloat64(b.metrics.published); n != 5000 {
		t.Errorf("metric says %v published", n)
	}
	if n := testutil.ToFloat64(b.metrics.queueMessages); n != 0 {
		t.Errorf("metric says %v queued", n)
	}
}

func TestPublishRefusesAtOnce(t *testing.T) {
	p := NewPublisher(newBus(t), DefaultPublisherConfig())
	if err := p.Publish(testSubject, &Event{ID: "1"}); !errors.Is(err, ErrInvalidEvent) {
		t.Errorf("no source: %v, want ErrInvalidEvent", err)
	}
	big := numbered(1)
	big.Data = json.RawMessage(`"` + strings.Repeat("x", MaxEventSize) + `"`)
	if err := p.Publish(testSubject, big); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v, want ErrTooLarge", err)
	}
}

func TestPublishDuplicates(t *testing.T) {
	b := newBus(t)
	l := newLedger()
	p := NewPublisher(b, l.config())
	run(t, p)
	for _, id := range []int{1, 2, 1, 1, 3} {
		if err := p.Publish(testSubject, numbered(id)); err != nil {
			t.Fatal(err)
		}
	}
	l.wait(t, "all", func() bool { return len(l.acked) == 5 })
	if diff := cmp.Diff([]string{"1", "2", "3"}, stored(t, b.JetStream())); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if n := testutil.ToFloat64(b.metrics.duplicates); n != 2 {
		t.Errorf("metric says %v duplicates, want 2", n)
	}
}

func TestPublishSync(t *testing.T) {
	b := newBus(t)
	cfg := DefaultPublisherConfig()
	cfg.DrainWait = 10 * time.Millisecond
	p := NewPublisher(b, cfg)
	run(t, p)
	if err := p.PublishSync(t.Context(), testSubject, numbered(1)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1"}, stored(t, b.JetStream())); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.PublishSync(ctx, "nowhere", numbered(2)); !errors.Is(err, context.Canceled) {
		t.Errorf("to where no stream is: %v, want it to wait for the context", err)
	}
}

// TestServerGoneAndBack: the server is ended and started again while messages are published; nothing is lost, doubled or out of order.
func TestServerGoneAndBack(t *testing.T) {
	o := startOutside(t)
	b := o.connect(t)
	if err := b.EnsureStreams(t.Context(), RoleSensor); err != nil {
		t.Fatal(err)
	}
	l := newLedger()
	p := NewPublisher(b, l.config())
	run(t, p)
	const n = 6000
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			if err := p.Publish(testSubject, numbered(i)); err != nil {
				t.Error(err)
			}
		}
	}
	publish(0, 1000)
	l.wait(t, "the first", func() bool { return len(l.acked) >= 500 })
	for round := range 3 { // the server goes away in the middle of a stream of messages
		done := make(chan struct{})
		go func() {
			defer close(done)
			publish(1000+round*1500, 2500+round*1500)
		}()
		o.stop()
		<-done
		l.wait(t, "the loss to be noticed", func() bool { signal(l.change); return p.Ready() != nil })
		o.start(t)
		l.wait(t, "the rest", func() bool { return len(l.acked) == 2500+round*1500 })
	}
	publish(5500, n)
	l.wait(t, "all", func() bool { return len(l.acked) == n })
	if len(l.failed) != 0 {
		t.Errorf("failed: %v", l.failed)
	}
	if diff := cmp.Diff(upTo(0, n), stored(t, o.connect(t).JetStream())); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if err := p.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

// TestOverflow: beyond the bound the oldest go, counted and told, and the newest arrive.
func TestOverflow(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*PublisherConfig)
	}{
		{"messages", func(c *PublisherConfig) { c.MaxMessages = 10 }},
		{"bytes", func(c *PublisherConfig) { c.MaxBytes = 10 * size(mustMessage(numbered(15))) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := startOutside(t)
			b := o.connect(t)
			if err := b.EnsureStreams(t.Context(), RoleSensor); err != nil {
				t.Fatal(err)
			}
			o.stop()
			l := newLedger()
			cfg := l.config()
			tc.edit(&cfg)
			p := NewPublisher(b, cfg)
			run(t, p)
			for i := 10; i < 35; i++ { // ids of two digits, so that all are of one size
				if err := p.Publish(testSubject, numbered(i)); err != nil {
					t.Fatal(err)
				}
			}
			l.wait(t, "drops", func() bool { return len(l.failed) == 15 })
			for _, id := range upTo(10, 25) {
				if !errors.Is(l.failed[id], ErrOverflow) {
					t.Errorf("message %s: %v, want ErrOverflow", id, l.failed[id])
				}
			}
			o.start(t)
			l.wait(t, "the rest", func() bool { return len(l.acked) == 10 })
			if diff := cmp.Diff(upTo(25, 35), stored(t, o.connect(t).JetStream())); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			if n := testutil.ToFloat64(b.metrics.dropped.WithLabelValues(dropOverflow)); n != 15 {
				t.Errorf("metric says %v dropped, want 15", n)
			}
		})
	}
}

func mustMessage(e *Event) *Message {
	m, err := NewMessage(testSubject, e)
	if err != nil {
		panic(err)
	}
	return m
}

// TestFullStream: a stream that refuses for now is waited for; readiness says so.
func TestFullStream(t *testing.T) {
	b := connect(t, startServer(t, t.TempDir()))
	cfg := specOf(t, StreamEvents)
	cfg.Discard, cfg.MaxMsgs = jetstream.DiscardNew, 3
	st, err := b.JetStream().CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger()
	p := NewPublisher(b, l.config())
	run(t, p)
	for i := range 5 {
		if err := p.Publish(testSubject, numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	l.wait(t, "the first three", func() bool { signal(l.change); return len(l.acked) == 3 && errors.Is(p.Ready(), ErrStreamFull) })
	if err := st.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.wait(t, "the rest", func() bool { return len(l.acked) == 5 })
	if diff := cmp.Diff([]string{"3", "4"}, stored(t, b.JetStream())); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if err := p.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

// TestStreamComesLater: without a stream nothing is lost.
func TestStreamComesLater(t *testing.T) {
	b := connect(t, startServer(t, t.TempDir()))
	l := newLedger()
	p := NewPublisher(b, l.config())
	run(t, p)
	for i := range 3 {
		if err := p.Publish(testSubject, numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	l.wait(t, "the refusal", func() bool { signal(l.change); return errors.Is(p.Ready(), nats.ErrNoResponders) })
	if err := b.EnsureStreams(t.Context(), RoleSensor); err != nil {
		t.Fatal(err)
	}
	l.wait(t, "all", func() bool { return len(l.acked) == 3 })
	if diff := cmp.Diff(upTo(0, 3), stored(t, b.JetStream())); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// TestRefusedForEver: what the server will never take does not hold up the rest.
func TestRefusedForEver(t *testing.T) {
	b := connect(t, startServer(t, t.TempDir()))
	cfg := specOf(t, StreamEvents)
	cfg.MaxMsgSize = 1000
	if _, err := b.JetStream().CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	l := newLedger()
	p := NewPublisher(b, l.config())
	run(t, p)
	big := numbered(1)
	big.Data = json.RawMessage(`"` + strings.Repeat("x", 2000) + `"`)
	for _, e := range []*Event{numbered(0), big, numbered(2)} {
		if err := p.Publish(testSubject, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Publish("white space", numbered(3)); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(testSubject, numbered(4)); err != nil {
		t.Fatal(err)
	}
	l.wait(t, "all", func() bool { return len(l.acked) == 3 && len(l.failed) == 2 })
	if diff := cmp.Diff([]string{"0", "2", "4"}, stored(t, b.JetStream())); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if err := l.failed["1"]; err == nil || !strings.Contains(err.Error(), "message size exceeds maximum") {
		t.Errorf("got %v", err)
	}
	if n := testutil.ToFloat64(b.metrics.dropped.WithLabelValues(dropRefused)); n != 2 {
		t.Errorf("metric says %v refused, want 2", n)
	}
}

// TestNotPermitted: a node's credentials let it publish under its own name only.
func TestNotPermitted(t *testing.T) {
	o := startOutside(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "admin", Password: "a"},
			{Username: "sensor", Password: "s", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"tiercel.events.syscall.*.*.*.n"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}},
		}
	})
	as := func(user string) func(*Config) {
		return func(c *Config) { c.URL = strings.Replace(c.URL, "nats://", "nats://"+user+"@", 1) }
	}
	admin := o.connect(t, as("admin:a"))
	if err := admin.EnsureStreams(t.Context(), RoleSensor); err != nil {
		t.Fatal(err)
	}
	sensor := o.connect(t, as("sensor:s"))
	if err := sensor.EnsureStreams(t.Context(), RoleSensor); err != nil {
		t.Errorf("a sensor that may only publish does not start: %v", err)
	}
	if err := sensor.EnsureStreams(t.Context(), RoleRuntime); !errors.Is(err, ErrNotPermitted) {
		t.Errorf("as a runtime: %v, want ErrNotPermitted", err)
	}
	l := newLedger()
	p := NewPublisher(sensor, l.config())
	run(t, p)
	for i, s := range []Subject{testSubject, "tiercel.events.syscall.warning.r.ns.other", testSubject} {
		if err := p.Publish(s, numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	l.wait(t, "all", func() bool { return len(l.acked) == 2 && len(l.failed) == 1 })
	if err := l.failed["1"]; !errors.Is(err, ErrNotPermitted) {
		t.Errorf("got %v, want ErrNotPermitted", err)
	}
	if diff := cmp.Diff([]string{"0", "2"}, stored(t, admin.JetStream())); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// TestAckLost: what is not acknowledged in time is sent again, from the first of them on.
func TestAckLost(t *testing.T) {
	o := startOutside(t)
	b := o.connect(t)
	l := newLedger()
	cfg := l.config()
	cfg.AckWait = 2 * time.Second
	var mu sync.Mutex
	var got []string
	if _, err := b.Conn().Subscribe(string(testSubject), func(m *nats.Msg) { // a stream that forgets its first answers
		mu.Lock()
		defer mu.Unlock()
		got = append(got, m.Header.Get("Nats-Msg-Id"))
		if len(got) > 3 {
			_ = m.Respond([]byte(`{"stream":"EVENTS","seq":1}`))
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	p := NewPublisher(b, cfg)
	for i := range 3 {
		if err := p.Publish(testSubject, numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	run(t, p)
	l.wait(t, "all", func() bool { return len(l.acked) == 3 })
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]string{"0", "1", "2", "0", "1", "2"}, got[:6]); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

// TestDrain: what was accepted is acknowledged or told, also when the server is away.
func TestDrain(t *testing.T) {
	o := startOutside(t)
	b := o.connect(t)
	if err := b.EnsureStreams(t.Context(), RoleSensor); err != nil {
		t.Fatal(err)
	}
	l := newLedger()
	cfg := l.config()
	cfg.DrainWait = 100 * time.Millisecond
	p := NewPublisher(b, cfg)
	stop := run(t, p)
	for i := range 1000 {
		if err := p.Publish(testSubject, numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := p.Pending(); n != 0 || len(l.acked) != 1000 {
		t.Errorf("%d pending, %d acknowledged", n, len(l.acked))
	}
	stop()

	l = newLedger()
	cfg.OnAck, cfg.OnError = l.config().OnAck, l.config().OnError
	o.stop()
	p = NewPublisher(b, cfg)
	stop = run(t, p)
	if err := p.Publish(testSubject, numbered(1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := p.Drain(ctx); !errors.Is(err, ErrUnfinished) || !strings.Contains(err.Error(), "1 messages") {
		t.Errorf("got %v, want ErrUnfinished", err)
	}
	stop()
	if !errors.Is(l.failed["1"], ErrUnfinished) {
		t.Errorf("got %v, want ErrUnfinished", l.failed["1"])
	}
	if n := testutil.ToFloat64(b.metrics.dropped.WithLabelValues(dropShutdown)); n != 1 {
		t.Errorf("metric says %v dropped at the end, want 1", n)
	}
}

// TestEveryMessageEndsOnce: many publish, the server comes and goes, the queue is small: each accepted message is acknowledged or given
// up, once.
func TestEveryMessageEndsOnce(t *testing.T) {
	o := startOutside(t)
	b := o.connect(t)
	if err := b.EnsureStreams(t.Context(), RoleSensor); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	ends := map[string]int{}
	cfg := DefaultPublisherConfig()
	cfg.MaxMessages, cfg.MaxInFlight = 300, 100
	cfg.OnAck = func(m *Message) { mu.Lock(); ends[m.ID]++; mu.Unlock() }
	cfg.OnError = func(m *Message, _ error) { mu.Lock(); ends[m.ID]++; mu.Unlock() }
	p := NewPublisher(b, cfg)
	stop := run(t, p)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				if err := p.Publish(testSubject, numbered(g*2000+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		o.stop()
		o.start(t)
	}
	wg.Wait()
	stop()
	if len(ends) != 8000 {
		t.Errorf("%d of 8000 messages ended", len(ends))
	}
	for id, n := range ends {
		if n != 1 {
			t.Errorf("message %s ended %d times", id, n)
		}
	}
}

// TestStoredAfterUncleanEnd: a server whose process is gone without a shutdown still has what it acknowledged.
func TestStoredAfterUncleanEnd(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir)
	b := connect(t, s)
	if err := b.EnsureStreams(t.Context(), RoleSensor); err != nil {
		t.Fatal(err)
	}
	p := NewPublisher(b, DefaultPublisherConfig())
	stop := run(t, p)
	for i := range 100 {
		if err := p.PublishSync(t.Context(), testSubject, numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil { // the files as a killed process leaves them
		t.Fatal(err)
	}
	stop()
	b.Close()
	b = connect(t, startServer(t, copied))
	if diff := cmp.Diff(upTo(0, 100), stored(t, b.JetStream())); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}
