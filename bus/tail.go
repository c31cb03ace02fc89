package bus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Received is an event as the stream holds it.
type Received struct {
	Event    *Event // nil if the message is none
	Subject  Subject
	Sequence uint64    // in EVENTS
	Stored   time.Time // when EVENTS stored it
	Data     []byte    // the message as it is
}

// Tail yields the events that q selects, in the stream's order, and waits for more until ctx ends or q.Until has passed. It survives the
// server's restart. A message that is no event is yielded with an error that wraps ErrInvalidEvent, and Tail goes on; after any other
// error, which comes without a Received, it ends. The end of ctx is no error.
func (b *Bus) Tail(ctx context.Context, q Query) iter.Seq2[*Received, error] {
	return b.read(ctx, q, true)
}

// Range is Tail for what the stream holds when it is called; it ends there. The zero Query is empty: set All or Since.
func (b *Bus) Range(ctx context.Context, q Query) iter.Seq2[*Received, error] {
	return b.read(ctx, q, false)
}

func (b *Bus) read(ctx context.Context, q Query, follow bool) iter.Seq2[*Received, error] {
	return func(yield func(*Received, error) bool) {
		if err := b.readTo(ctx, q, follow, yield); err != nil && ctx.Err() == nil {
			yield(nil, fmt.Errorf("read events: %w", err))
		}
	}
}

func (b *Bus) readTo(ctx context.Context, q Query, follow bool, yield func(*Received, error) bool) error {
	if err := q.Validate(); err != nil {
		return err
	}
	st, err := b.js.Stream(ctx, StreamEvents)
	if err != nil {
		return noStream(err)
	}
	last := st.CachedInfo().State.LastSeq
	if !follow && last == 0 {
		return nil
	}
	sel := q.selector()
	next, stop, err := b.messages(ctx, &q, false)
	if err != nil {
		return err
	}
	defer stop()
	if !q.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, q.Until)
		defer cancel()
	}
	for {
		r, pending, err := next(ctx, !follow)
		switch {
		case errors.Is(err, errNoMore), ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case !follow && r.Sequence > last, !q.Until.IsZero() && !r.Stored.Before(q.Until):
			return nil
		}
		var bad error
		r.Event, bad = Decode(r.header, r.Data)
		if bad != nil {
			bad = fmt.Errorf("message %d on %s: %w", r.Sequence, r.Subject, bad)
		}
		if sel.match(&r.Received) && !yield(&r.Received, bad) {
			return nil
		}
		if !follow && (r.Sequence >= last || pending == 0) {
			return nil
		}
	}
}

func noStream(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("there is no stream %s yet: start a sensor first: %w", StreamEvents, err)
	}
	return err
}

// A received is a Received with what callers do not see.
type received struct {
	Received
	header nats.Header
}

var errNoMore = errors.New("no more messages")

// idle is how long a reader that does not follow waits for a message that the consumer says is coming.
const idle = 2 * time.Second

// messages opens an ordered consumer, which mends itself. The function it returns gives the next message and how many are left behind
// it; with end, it returns errNoMore when there is nothing left.
func (b *Bus) messages(ctx context.Context, q *Query, headersOnly bool) (next func(ctx context.Context, end bool) (*received, uint64, error), stop func(), err error) {
	cfg := jetstream.OrderedConsumerConfig{
		FilterSubjects: q.subjects(), DeliverPolicy: jetstream.DeliverNewPolicy, HeadersOnly: headersOnly,
		InactiveThreshold: time.Minute,
	}
	switch {
	case q.All:
		cfg.DeliverPolicy = jetstream.DeliverAllPolicy
	case !q.Since.IsZero():
		since := q.Since
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	consumer, err := b.js.OrderedConsumer(ctx, StreamEvents, cfg)
	if err != nil {
		return nil, nil, noStream(err)
	}
	info := consumer.CachedInfo()
	left := info != nil && info.NumPending > 0
	msgs, err := consumer.Messages()
	if err != nil {
		return nil, nil, err
	}
	next = func(ctx context.Context, end bool) (*received, uint64, error) {
		if end && !left {
			return nil, 0, errNoMore
		}
		if end {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, idle)
			defer cancel()
		}
		for {
			m, err := msgs.Next(jetstream.NextContext(ctx))
			switch {
			case errors.Is(err, jetstream.ErrNoHeartbeat):
				continue // the server is away; the consumer is made anew when it is back
			case err != nil && end && ctx.Err() != nil:
				return nil, 0, errNoMore
			case err != nil:
				return nil, 0, err
			}
			meta, err := m.Metadata()
			if err != nil {
				return nil, 0, err
			}
			left = meta.NumPending > 0
			return &received{
				Received: Received{Subject: Subject(m.Subject()), Sequence: meta.Sequence.Stream, Stored: meta.Timestamp, Data: m.Data()},
				header:   m.Headers(),
			}, meta.NumPending, nil
		}
	}
	stop = func() {
		msgs.Stop()
		if info := consumer.CachedInfo(); info != nil { // else it would stay until it has been idle for long enough
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), idle)
			defer cancel()
			_ = b.js.DeleteConsumer(ctx, StreamEvents, info.Name)
		}
	}
	return next, stop, nil
}
