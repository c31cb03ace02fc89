package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestAppend(t *testing.T) {
	b := newBus(t)
	ctx := t.Context()
	subject := JournalSubject("default_f", "inv/revert/1")
	if recs, err := b.ReadSubject(ctx, StreamJournal, subject); err != nil || recs != nil {
		t.Errorf("empty subject: %v, %v", recs, err)
	}
	if _, err := b.Last(ctx, StreamJournal, subject); !errors.Is(err, ErrNotFound) {
		t.Errorf("last of an empty subject: %v, want ErrNotFound", err)
	}
	other := JournalSubject("default_f", "other")
	if _, err := b.Append(ctx, Record{Subject: other, Data: []byte("o")}, 0); err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for i := range 3 {
		seq, err := b.Append(ctx, Record{Subject: subject, Data: fmt.Append(nil, i), Header: nats.Header{"X": {"y"}}}, last)
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range []uint64{last, 0, seq + 1} {
			if _, err := b.Append(ctx, Record{Subject: subject, Data: []byte("w")}, wrong); !errors.Is(err, ErrWrongSequence) {
				t.Errorf("expecting %d: %v, want ErrWrongSequence", wrong, err)
			}
		}
		last = seq
	}
	recs, err := b.ReadSubject(ctx, StreamJournal, subject)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range recs {
		got = append(got, string(r.Data))
		if r.Subject != subject || r.Header.Get("X") != "y" || time.Since(r.Time) > time.Minute {
			t.Errorf("got %+v", r)
		}
	}
	if diff := cmp.Diff([]string{"0", "1", "2"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r, err := b.Last(ctx, StreamJournal, subject); err != nil || r.Sequence != last {
		t.Errorf("last: %+v, %v", r, err)
	}
	if err := b.PurgeSubject(ctx, StreamJournal, subject); err != nil {
		t.Fatal(err)
	}
	if recs, _ := b.ReadSubject(ctx, StreamJournal, subject); len(recs) != 0 {
		t.Errorf("%d records after the purge", len(recs))
	}
	if recs, _ := b.ReadSubject(ctx, StreamJournal, other); len(recs) != 1 {
		t.Errorf("the purge took %d records of another subject", 1-len(recs))
	}
	if _, err := b.Append(ctx, Record{Subject: "nowhere"}, 0); err == nil || errors.Is(err, ErrWrongSequence) {
		t.Errorf("no stream: %v", err)
	}
	if _, err := b.ReadSubject(ctx, "NONE", subject); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("no stream: %v", err)
	}
}

// TestAppendRace: of many that append the first record of one subject, one succeeds.
func TestAppendRace(t *testing.T) {
	s := startServer(t, t.TempDir())
	b := connect(t, s)
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		b := connect(t, s)
		wg.Go(func() {
			for inv := range 50 {
				_, err := b.Append(t.Context(), Record{Subject: JournalSubject("f", fmt.Sprint(inv)), Data: fmt.Append(nil, i)}, 0)
				switch {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, ErrWrongSequence):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if won.Load() != 50 {
		t.Errorf("%d claims succeeded, want 50", won.Load())
	}
}

// TestSealedJournal: the record that ends an invocation takes the journal's place, refuses a second claim, and goes by itself.
func TestSealedJournal(t *testing.T) {
	b := newBus(t)
	ctx := t.Context()
	subject := JournalSubject("f", "i")
	seq, err := b.Append(ctx, Record{Subject: subject, Data: []byte("claim")}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Append(ctx, Record{Subject: subject, Data: []byte("seen"), Header: nats.Header{"Nats-Rollup": {"sub"}, "Nats-TTL": {"1h"}}}, seq); err != nil {
		t.Fatal(err)
	}
	recs, err := b.ReadSubject(ctx, StreamJournal, subject)
	if err != nil || len(recs) != 1 || string(recs[0].Data) != "seen" {
		t.Errorf("got %+v, %v", recs, err)
	}
	if _, err := b.Append(ctx, Record{Subject: subject, Data: []byte("claim")}, 0); !errors.Is(err, ErrWrongSequence) {
		t.Errorf("a second claim: %v, want ErrWrongSequence", err)
	}
}

// TestDeadLettersAreBounded per function and reason, and others have room.
func TestDeadLettersAreBounded(t *testing.T) {
	b := newBus(t)
	for range MaxDeadLetters {
		if _, err := b.JetStream().PublishAsync(string(DeadLetterSubject("f", "crashed")), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	<-b.JetStream().PublishAsyncComplete()
	last, err := b.Last(t.Context(), StreamDeadLetter, DeadLetterSubject("f", "crashed"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Append(t.Context(), Record{Subject: DeadLetterSubject("f", "crashed")}, last.Sequence); !errors.Is(err, ErrStreamFull) {
		t.Errorf("one too many: %v, want ErrStreamFull", err)
	}
	for _, s := range []Subject{DeadLetterSubject("f", "diverged"), DeadLetterSubject("g", "crashed")} {
		if _, err := b.Append(t.Context(), Record{Subject: s}, 0); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// TestSchedule: a timer arrives at its time and not before, the later of two wins, a cancelled one does not arrive, and an overdue one
// arrives after a restart.
func TestSchedule(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir)
	b := connect(t, s)
	ctx := t.Context()
	if err := b.EnsureStreams(ctx); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	at := begin.Add(3 * time.Second) // long enough to have cancelled what is not to arrive
	for _, f := range []func() error{
		func() error { return b.Schedule(ctx, "soon/revert/1", at, []byte("data")) },
		func() error { return b.Schedule(ctx, "cancelled", at, nil) },
		func() error { return b.CancelSchedule(ctx, "cancelled") },
		func() error { return b.CancelSchedule(ctx, "never there") },
		func() error { return b.Schedule(ctx, "moved", at, []byte("first")) },
		func() error { return b.Schedule(ctx, "moved", at.Add(time.Millisecond), []byte("second")) },
		func() error { return b.Schedule(ctx, "overdue", at.Add(300*time.Millisecond), []byte("late")) },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	due := receive(t, b)
	want := map[Subject]string{TimerDueSubject("soon/revert/1"): "data", TimerDueSubject("moved"): "second"}
	got := map[Subject]string{}
	for range want {
		r := <-due
		got[r.Subject] = string(r.Data)
		if r.Time.Before(at) {
			t.Errorf("%s arrived %v early", r.Subject, at.Sub(r.Time))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.Close()
	s.Close()
	<-time.After(time.Until(at.Add(400 * time.Millisecond))) // its time passes while nobody is there
	b = connect(t, startServer(t, dir))
	due = receive(t, b)
	for {
		select {
		case r := <-due:
			if r.Subject == TimerDueSubject("cancelled") {
				t.Error("a cancelled timer arrived")
			}
			if r.Subject == TimerDueSubject("overdue") {
				return
			}
		case <-time.After(time.Minute):
			t.Fatal("the overdue timer does not arrive")
		}
	}
}

// receive consumes what arrives on TIMERS.
func receive(t *testing.T, b *Bus) <-chan Record {
	t.Helper()
	c, err := b.JetStream().OrderedConsumer(t.Context(), StreamTimers, jetstream.OrderedConsumerConfig{FilterSubjects: []string{TimersDueSubjects}})
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan Record, 16)
	cc, err := c.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			t.Error(err)
			return
		}
		out <- Record{Subject: Subject(m.Subject()), Data: m.Data(), Time: meta.Timestamp}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cc.Stop)
	return out
}

func BenchmarkAppend(b *testing.B) {
	bus := newBus(b)
	data := make([]byte, 1024)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		if _, err := bus.Append(context.Background(), Record{Subject: JournalSubject("f", fmt.Sprint(i)), Data: data}, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(i)/b.Elapsed().Seconds(), "appends/s")
}
