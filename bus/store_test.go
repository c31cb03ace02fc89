package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func storeOne(t *testing.T, b *Bus, id string) (Receipt, error) {
	t.Helper()
	s, err := b.Store(t.Context(), OutcomeSubject("default", "f", "succeeded"), []byte(id), Field{nats.MsgIdHdr, id}, Field{"Content-Type", "text/plain"})
	if err != nil {
		t.Fatal(err)
	}
	return s.Wait(t.Context(), time.Minute)
}

// Each message has a sequence of its own, and one whose id the stream knows has that one's. Headers and data arrive as they were sent.
func TestStore(t *testing.T) {
	b := newBus(t)
	const n = 200
	seqs := make([]uint64, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r, err := storeOne(t, b, fmt.Sprint("id-", i))
			if err != nil || r.Duplicate {
				t.Errorf("message %d: %+v, %v", i, r, err)
			}
			seqs[i] = r.Sequence
		})
	}
	wg.Wait()
	stream, err := b.JetStream().Stream(t.Context(), StreamOutcomes)
	if err != nil {
		t.Fatal(err)
	}
	for i, seq := range seqs {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatalf("message %d, sequence %d: %v", i, seq, err)
		}
		if id := fmt.Sprint("id-", i); string(m.Data) != id || m.Header.Get(nats.MsgIdHdr) != id || m.Header.Get("Content-Type") != "text/plain" {
			t.Errorf("sequence %d: %q, %v; want that of %s", seq, m.Data, m.Header, id)
		}
		if r, err := storeOne(t, b, fmt.Sprint("id-", i)); err != nil || !r.Duplicate || r.Sequence != seq {
			t.Errorf("message %d again: %+v, %v; want sequence %d", i, r, err, seq)
		}
	}
	if got := len(b.lanes.free); got == 0 || got > n || len(b.lanes.turns) != 0 {
		t.Errorf("%d lanes are free, %d in use", got, len(b.lanes.turns))
	}
}

// What JetStream refuses, what nobody answers, and what is not waited for are errors, after which messages go on being stored.
func TestStoreErrors(t *testing.T) {
	b := newBus(t)
	send := func(subject Subject, most time.Duration) (Receipt, error) {
		t.Helper()
		s, err := b.Store(t.Context(), subject, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		return s.Wait(t.Context(), most)
	}
	if _, err := send("nobody.has.this", time.Minute); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a subject of no stream: %v", err)
	}
	r, err := storeOne(t, b, "one")
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.Store(t.Context(), OutcomeSubject("default", "f", "succeeded"), nil, Field{"Nats-Expected-Last-Sequence", fmt.Sprint(r.Sequence + 7)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wait(t.Context(), time.Minute); !errors.Is(err, ErrWrongSequence) {
		t.Errorf("after another sequence: %v", err)
	}
	silent, err := b.Conn().SubscribeSync("silent")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := send("silent", time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("who does not answer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s, err = b.Store(ctx, "silent", nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := s.Wait(ctx, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
	if _, err := b.Store(t.Context(), "not a subject", nil); err == nil {
		t.Error("a subject with spaces was taken")
	}
	_ = silent.Unsubscribe()
	if _, err := storeOne(t, b, "two"); err != nil || len(b.lanes.turns) != 0 {
		t.Errorf("afterwards: %v, %d lanes in use", err, len(b.lanes.turns))
	}
}

// An answer that comes twice is not taken for that to the next message.
func TestStoreAnsweredTwice(t *testing.T) {
	b := newBus(t)
	n := 0
	sub, err := b.Conn().Subscribe("twice", func(m *nats.Msg) {
		n++
		answer := fmt.Appendf(nil, `{"stream":"S","seq":%d}`, n)
		_, _ = m.Respond(answer), m.Respond(answer)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for i := range 20 {
		s, err := b.Store(t.Context(), "twice", nil)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := s.Wait(t.Context(), time.Minute); err != nil || r.Sequence != uint64(i+1) {
			t.Fatalf("message %d: %+v, %v", i+1, r, err)
		}
	}
}

// Who waits for an answer when the connection is lost is told so once it is back, and messages are stored again.
func TestStoreOverALostConnection(t *testing.T) {
	b := newBus(t)
	if _, err := b.Conn().SubscribeSync("silent"); err != nil {
		t.Fatal(err)
	}
	s, err := b.Store(t.Context(), "silent", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Conn().ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wait(t.Context(), 3*time.Minute); !errors.Is(err, nats.ErrDisconnected) {
		t.Errorf("got %v", err)
	}
	if _, err := storeOne(t, b, "after"); err != nil {
		t.Errorf("after the connection is back: %v", err)
	}
}

func TestReceipt(t *testing.T) {
	for _, c := range []struct {
		answer string
		want   Receipt
		err    string
	}{
		{`{"stream":"A","seq":17}`, Receipt{17, false}, ""},
		{`{"stream":"A","domain":"d","seq": 18,"duplicate": true}`, Receipt{18, true}, ""},
		{`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"A","seq":0}`, Receipt{}, "maximum messages"},
		{`{"stream":"A"}`, Receipt{}, "unintelligible"},
		{`{"seq":x}`, Receipt{}, "unintelligible"},
		{`{"seq":1`, Receipt{}, "unintelligible"},
		{`{"seq":99999999999999999999}`, Receipt{}, "unintelligible"},
		{``, Receipt{}, "unintelligible"},
	} {
		got, err := receipt(&nats.Msg{Data: []byte(c.answer)})
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %+v, %v", c.answer, got, err)
		}
	}
}
