package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// publish stores events of one rule, priority, namespace and node each, in binary mode now and then, and returns their ids.
func publishAll(t testing.TB, b *Bus, rows [][5]string) []string {
	t.Helper()
	ids := NewIDs("n1")
	var out []string
	for i, r := range rows {
		e := &Event{ID: ids.New(time.Now()), Source: "/t", Type: TypeRuleMatched, Rule: r[2], Priority: r[1], EventSource: r[0], Data: json.RawMessage(`{}`)}
		m := &nats.Msg{Subject: string(EventSubject(r[0], r[1], r[2], r[3], r[4]))}
		if i%2 == 0 {
			m.Data = Marshal(e)
		} else {
			m.Header, m.Data = MarshalBinary(e)
		}
		if _, err := b.JetStream().PublishMsg(t.Context(), m, jetstream.WithMsgID(e.ID)); err != nil {
			t.Fatal(err)
		}
		out = append(out, e.ID)
	}
	return out
}

var tailRows = [][5]string{
	{"syscall", "Warning", "Terminal shell in container", "payments", "n1"},  // 0
	{"syscall", "Notice", "Terminal shell in container", "web", "n2"},        // 1
	{"syscall", "Critical", "Read sensitive file", "", "n1"},                 // 2
	{"k8s_audit", "Informational", "K8s secret created", "payments", "n1"},   // 3
	{"syscall", "Debug", "terminal-shell in/container", "payments", "n1.eu"}, // 4
}

func TestRange(t *testing.T) {
	b := newBus(t)
	ids := publishAll(t, b, tailRows)
	for _, tc := range []struct {
		name string
		q    Query
		want []int
	}{
		{"all", Query{All: true}, []int{0, 1, 2, 3, 4}},
		{"since", Query{Since: time.Now().Add(-time.Hour)}, []int{0, 1, 2, 3, 4}},
		{"since now", Query{Since: time.Now()}, nil},
		{"until", Query{All: true, Until: time.Now().Add(-time.Hour)}, nil},
		{"from now on", Query{}, nil},
		{"rule", Query{All: true, Rules: []string{"Read sensitive file"}}, []int{2}},
		{"rule, given roughly", Query{All: true, Rules: []string{"terminal shell in container"}}, []int{0, 1, 4}},
		{"rule by pattern", Query{All: true, Rules: []string{"* sensitive *", "K8s*"}}, []int{2, 3}},
		{"pattern over a slash", Query{All: true, Rules: []string{"terminal*container"}}, []int{4}},
		{"namespace", Query{All: true, Namespaces: []string{"payments"}}, []int{0, 3, 4}},
		{"host", Query{All: true, Namespaces: []string{"-", "web"}}, []int{1, 2}},
		{"priority", Query{All: true, Priority: "warning"}, []int{0, 2}},
		{"priority, short", Query{All: true, Priority: "INFO"}, []int{0, 1, 2, 3}},
		{"least priority", Query{All: true, Priority: "debug"}, []int{0, 1, 2, 3, 4}},
		{"source", Query{All: true, Sources: []string{"k8s_audit"}}, []int{3}},
		{"node", Query{All: true, Node: "n1.eu"}, []int{4}},
		{"all of it", Query{All: true, Rules: []string{"Terminal*"}, Namespaces: []string{"payments"}, Priority: "notice", Sources: []string{"syscall"}, Node: "n1"}, []int{0}},
		{"none", Query{All: true, Namespaces: []string{"nobody"}}, nil},
		{"more filters than a consumer takes", Query{
			All: true, Priority: "notice", Namespaces: []string{"payments", "a", "b", "c", "d", "e"},
			Rules: []string{"Terminal shell in container", "x", "y"},
		}, []int{0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got, want []string
			for r, err := range b.Range(t.Context(), tc.q) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, r.Event.ID)
			}
			for _, i := range tc.want {
				want = append(want, ids[i])
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestReadersLeaveNothing: a reader that has ended has no consumer on the stream.
func TestReadersLeaveNothing(t *testing.T) {
	b := newBus(t)
	ids := publishAll(t, b, tailRows[:1])
	for range b.Range(t.Context(), Query{All: true}) {
	}
	for range b.Tail(t.Context(), Query{All: true}) {
		break
	}
	if _, err := b.Event(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	st, err := b.JetStream().Stream(t.Context(), StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	if n := st.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers are left", n)
	}
}

func TestQueryErrors(t *testing.T) {
	b := newBus(t)
	for want, q := range map[string]Query{
		`priority "urgent"`: {Priority: "urgent"}, "malformed pattern": {Rules: []string{"[x"}},
		`namespace "A B"`: {Namespaces: []string{"A B"}}, `node "_x"`: {Node: "_x"},
	} {
		n := 0
		for r, err := range b.Range(t.Context(), q) {
			if n++; r != nil || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, %v, want %q", r, err, want)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d errors", want, n)
		}
	}
	for _, err := range connect(t, startServer(t, t.TempDir())).Range(t.Context(), Query{All: true}) {
		if err == nil || !strings.Contains(err.Error(), "no stream EVENTS yet") {
			t.Errorf("without the stream: %v", err)
		}
	}
}

// TestTail: events that come while somebody waits; what is no event is told and passed over.
func TestTail(t *testing.T) {
	b := newBus(t)
	publishAll(t, b, tailRows) // before: not seen
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type item struct {
		id  string
		err error
	}
	items := make(chan item)
	go func() {
		defer close(items)
		first := true
		for r, err := range b.Tail(ctx, Query{All: true}) {
			if first { // the reader is there
				first = false
				items <- item{}
			}
			if r == nil {
				items <- item{err: err}
				return
			}
			id := ""
			if r.Event != nil {
				id = r.Event.ID
			}
			items <- item{id, err}
		}
	}()
	<-items
	for range tailRows {
		<-items
	}
	if _, err := b.JetStream().Publish(ctx, "tiercel.events.x.y.z", []byte("no event")); err != nil {
		t.Fatal(err)
	}
	if it := <-items; !errors.Is(it.err, ErrInvalidEvent) {
		t.Errorf("got %+v, want ErrInvalidEvent", it)
	}
	ids := publishAll(t, b, tailRows[:2])
	for _, want := range ids {
		if it := <-items; it.id != want || it.err != nil {
			t.Errorf("got %+v, want %s", it, want)
		}
	}
	cancel()
	if it, more := <-items; more {
		t.Errorf("after the end of the context: %+v", it)
	}
}

func TestTailUntil(t *testing.T) {
	b := newBus(t)
	ids := publishAll(t, b, tailRows)
	var got []string
	for r, err := range b.Tail(t.Context(), Query{All: true, Until: time.Now().Add(3 * time.Second)}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Event.ID)
	}
	if diff := cmp.Diff(ids, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTailSurvivesRestart: a reader of an external server goes on after the server was away.
func TestTailSurvivesRestart(t *testing.T) {
	o := startOutside(t)
	b := o.connect(t)
	if err := b.EnsureStreams(t.Context(), RoleSensor); err != nil {
		t.Fatal(err)
	}
	first := publishAll(t, b, tailRows)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan string)
	go func() {
		for r, err := range b.Tail(ctx, Query{All: true}) {
			if err != nil {
				t.Error(err)
				return
			}
			got <- r.Event.ID
		}
	}()
	for _, want := range first {
		if id := <-got; id != want {
			t.Fatalf("got %s, want %s", id, want)
		}
	}
	o.stop()
	o.start(t)
	second := publishAll(t, o.connect(t), tailRows)
	for _, want := range second {
		select {
		case id := <-got:
			if id != want {
				t.Fatalf("got %s, want %s", id, want)
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing more after the restart")
		}
	}
}

func TestEvent(t *testing.T) {
	b := newBus(t)
	ids := publishAll(t, b, tailRows)
	for i, id := range ids {
		r, err := b.Event(t.Context(), id)
		if tailRows[i][4] != "n1" { // an id that names another node than its subject is none of that node's
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("event %d of a false name: %v, %v", i, r, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Event.ID != id || r.Sequence != uint64(i+1) || r.Event.Rule != tailRows[i][2] {
			t.Errorf("got %+v", r)
		}
	}
	audit := &Event{ID: "6c8e/ResponseComplete/K8s secret created", Source: "/a", Type: TypeRuleMatched}
	if _, err := b.JetStream().PublishMsg(t.Context(), &nats.Msg{Subject: string(testSubject), Data: Marshal(audit)}, jetstream.WithMsgID(audit.ID)); err != nil {
		t.Fatal(err)
	}
	if r, err := b.Event(t.Context(), audit.ID); err != nil || r.Event.ID != audit.ID {
		t.Errorf("an id without a time: %v, %v", r, err)
	}
	for _, id := range []string{"n1-01ARZ3NDEKTSV4RRFFQ69G5FAV", NewIDs("n1").New(time.Now()), NewIDs("n1").New(time.Now().Add(time.Hour)), "x", ""} {
		if r, err := b.Event(t.Context(), id); !errors.Is(err, ErrNotFound) || r != nil {
			t.Errorf("id %q: %v, %v, want ErrNotFound", id, r, err)
		}
	}
}

// TestEventLooksAtItsTimeOnly: of many events of two nodes, those before and those of the other are not read.
func TestEventLooksAtItsTimeOnly(t *testing.T) {
	b := newBus(t)
	old := NewIDs("n1").New(time.Now())
	node, at, ok := idTime(old)
	if !ok || node != "n1" || time.Since(at) > time.Minute {
		t.Fatalf("idTime(%q) = %q, %v, %v", old, node, at, ok)
	}
	q := Query{Node: node, Since: at.Add(-clockSkew)}
	if got := q.subjects(); len(got) != 1 || got[0] != "tiercel.events.*.*.*.*.n1" {
		t.Errorf("looks at %v", got)
	}
	for _, id := range []string{"", "-", "n1-", "n1", "n1-01ARZ3NDEKTSV4RRFFQ69G5FA", "n1x01ARZ3NDEKTSV4RRFFQ69G5FAV", "N-01ARZ3NDEKTSV4RRFFQ69G5FAV", "n1-01ARZ3NDEKTSV4RRFFQ69G5FAU!"} {
		if _, _, ok := idTime(id); ok && id != "" {
			t.Errorf("idTime(%q) is ok", id)
		}
	}
	_ = b
}

func TestIDs(t *testing.T) {
	ids := NewIDs("node-1.eu")
	now := time.Now()
	seen := map[string]bool{}
	last := ""
	for range 100_000 {
		id := ids.New(now)
		if seen[id] || id <= last {
			t.Fatalf("%s after %s", id, last)
		}
		seen[id], last = true, id
	}
	node, at, ok := idTime(last)
	if !ok || node != "node-1.eu" || !at.Equal(now.Truncate(time.Millisecond)) {
		t.Errorf("idTime(%q) = %q, %v, %v", last, node, at, ok)
	}
	for _, tm := range []time.Time{{}, time.Unix(-5, 0), time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if id := ids.New(tm); len(id) != len(last) {
			t.Errorf("time %v: %q", tm, id)
		}
	}
}

func BenchmarkTail(b *testing.B) {
	bus := newBus(b)
	p := NewPublisher(bus, DefaultPublisherConfig())
	run(b, p)
	e := sampleEvent()
	const n = 20_000
	for i := range n {
		e.ID = fmt.Sprint(i)
		if err := p.Publish(testSubject, e); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Drain(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	read := 0
	for b.Loop() {
		for _, err := range bus.Range(b.Context(), Query{All: true}) {
			if err != nil {
				b.Fatal(err)
			}
			read++
		}
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkEvent finds one of 20,000 events, the newest.
func BenchmarkEvent(b *testing.B) {
	bus := newBus(b)
	p := NewPublisher(bus, DefaultPublisherConfig())
	run(b, p)
	e := sampleEvent()
	ids := NewIDs("n")
	for range 20_000 {
		e.ID = ids.New(time.Now())
		if err := p.Publish(testSubject, e); err != nil {
			b.Fatal(err)
		}
	}
	for range 2 { // the first waits for all before it
		e.ID = ids.New(time.Now())
		if err := p.PublishSync(b.Context(), testSubject, e); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for b.Loop() {
		if _, err := bus.Event(b.Context(), e.ID); err != nil {
			b.Fatal(err)
		}
	}
}
