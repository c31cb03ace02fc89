package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/tiercel-project/tiercel/bus"
)

// Seal stores the action of an invocation that has ended in ACTIONS, once, publishes its outcome and leaves a mark in its journal that
// refuses duplicates. again says that an earlier Seal may have got as far as ACTIONS: then that is looked up first. After an error
// all of it may be repeated, by anybody.
func (j *Journal) Seal(ctx context.Context, a *Action, last uint64, again bool) error {
	if again {
		found, err := j.sealed(ctx, a.ID, a.Ended)
		if err != nil {
			return err
		}
		if found != nil {
			if err := j.AnnounceAgain(ctx, found); err != nil {
				return err
			}
			return j.mark(ctx, found, last)
		}
	}
	if err := j.Store(ctx, a); err != nil {
		return err
	}
	return j.mark(ctx, a, last)
}

// Store puts an action into ACTIONS and announces it in OUTCOMES. Within ACTIONS' duplicate window a repetition stores nothing.
func (j *Journal) Store(ctx context.Context, a *Action) error {
	sent, err := j.send(ctx, a, a.ID+"/end")
	if err != nil {
		return err
	}
	got, err := sent.Wait(ctx, storeBound)
	if err != nil {
		return fmt.Errorf("seal %s: %w", a.ID, err)
	}
	a.Sequence = got.Sequence
	if !got.Duplicate {
		return j.Announce(ctx, a)
	}
	stored, err := j.At(ctx, got.Sequence)
	if err != nil {
		return err
	}
	return j.AnnounceAgain(ctx, stored)
}

// storeBound is how long an answer of JetStream is waited for while the connection stands.
const storeBound = 30 * time.Second

// send has ACTIONS store an action, unless it has a message with that id; what it answers comes later.
func (j *Journal) send(ctx context.Context, a *Action, id string, fields ...bus.Field) (bus.Storing, error) {
	e := newEncoder()
	defer e.free()
	e.action(a)
	if e.err != nil {
		return bus.Storing{}, fmt.Errorf("seal %s: %w", a.ID, e.err)
	}
	fields = append(fields, bus.Field{Key: headerInvocation, Value: a.ID}, bus.Field{Key: nats.MsgIdHdr, Value: id})
	sent, err := j.bus.Store(ctx, bus.ActionSubject(a.Event.Target.Namespace, a.Function.Token(), string(a.Outcome)), e.dst, fields...)
	if err != nil {
		return sent, fmt.Errorf("seal %s: %w", a.ID, err)
	}
	return sent, nil
}

// Announce puts the outcome of an action into OUTCOMES that this attempt has just stored. Repetitions are AnnounceAgain's.
func (j *Journal) Announce(ctx context.Context, a *Action) error { return j.announce(ctx, a) }

// AnnounceAgain is Announce for an action whose announcement somebody else may have made: it looks for that first. Several who find
// nothing at the same time announce it once, by the id of the message.
func (j *Journal) AnnounceAgain(ctx context.Context, a *Action) error {
	found, err := j.announced(ctx, a)
	if err != nil || found {
		return err
	}
	return j.announce(ctx, a, bus.Field{Key: nats.MsgIdHdr, Value: settledID(a)})
}

// settledID is the id of the event about an action.
func settledID(a *Action) string { return a.ID + "/settled" }

func outcomeSubject(a *Action) bus.Subject {
	return bus.OutcomeSubject(a.Event.Target.Namespace, a.Function.Token(), string(a.Outcome))
}

func (j *Journal) announce(ctx context.Context, a *Action, fields ...bus.Field) error {
	e := newEncoder()
	defer e.free()
	e.outcome(a, settledID(a))
	err := e.err
	if err == nil {
		var sent bus.Storing
		fields = append(fields, bus.Field{Key: headerInvocation, Value: a.ID}, bus.Field{Key: "Content-Type", Value: "application/cloudevents+json"})
		sent, err = j.bus.Store(ctx, outcomeSubject(a), e.dst, fields...)
		if err == nil {
			_, err = sent.Wait(ctx, storeBound)
		}
	}
	if err != nil {
		return fmt.Errorf("outcome of %s: %w", a.ID, err)
	}
	return nil
}

const (
	announceSkew = 2 * time.Second // how far the clocks of the servers that lead ACTIONS and OUTCOMES may be apart
	announceScan = 20_000          // outcomes looked at, at most: what was announced much later than it was stored is announced twice
)

// announced looks in OUTCOMES for the event about an action that is stored.
func (j *Journal) announced(ctx context.Context, a *Action) (found bool, err error) {
	from, n := a.Sealed.Add(-announceSkew), 0
	err = j.scan(ctx, bus.StreamOutcomes, string(outcomeSubject(a)), from, headersOnly, func(m jetstream.Msg) (bool, error) {
		h := m.Headers()
		found = h.Get(headerInvocation) == a.ID || h.Get(nats.MsgIdHdr) == settledID(a)
		n++
		return !found && n < announceScan, nil
	})
	if err != nil {
		return false, fmt.Errorf("outcome of %s: %w", a.ID, err)
	}
	return found, nil
}

// Settled is the data of an outcome's event, of type bus.TypeInvocationSettled.
type Settled struct {
	Invocation string     `json:"invocation"`
	Function   string     `json:"function"` // tenant/name
	Mode       string     `json:"mode"`
	Outcome    Outcome    `json:"outcome"`
	Reason     string     `json:"reason,omitempty"`
	Text       string     `json:"text,omitempty"`
	Event      string     `json:"event"` // id
	Rule       string     `json:"rule,omitempty"`
	Target     bus.Target `json:"target,omitzero"`
	Effects    []string   `json:"effects,omitempty"` // what was written
}

// mark replaces the invocation's records by one that says it is sealed.
func (j *Journal) mark(ctx context.Context, a *Action, last uint64) error {
	h := nats.Header{
		headerSealed:           {strconv.FormatUint(a.Sequence, 10)}, // for those who look without decoding
		jetstream.MsgTTLHeader: {j.marks.ttl(j.cfg.Clock.Boot(), j.cfg.Seen).String()},
		nats.MsgRollup:         {nats.MsgRollupSubject},
	}
	r := &Record{Nonce: nonce(), Runtime: j.cfg.Runtime, Time: j.cfg.Clock.Now(), Sealed: a.Sequence}
	_, err := j.append(ctx, a.Function.Token(), a.ID, r, last, h)
	if errors.Is(err, ErrTaken) {
		// Somebody else sealed it, or a tombstone came after the end.
		s, rerr := j.Read(ctx, a.Function.Token(), a.ID)
		if rerr == nil && s.Sealed != 0 {
			return nil
		}
		if rerr == nil && s.End != nil {
			_, err = j.append(ctx, a.Function.Token(), a.ID, r, s.Last, h)
		}
	}
	return err
}

// sealed looks in ACTIONS for the action of an invocation that ended at that time at the earliest; nil: there is none.
func (j *Journal) sealed(ctx context.Context, invocation string, from time.Time) (*Action, error) {
	a, err := j.Find(ctx, invocation, from.Add(-clockSkew))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return a, err
}

// clockSkew is how far the clocks of nodes, runtimes and servers may be apart.
const clockSkew = 2 * time.Minute

// EventTime is when the event of an invocation happened, as its id says; zero if that is none of ours.
func EventTime(invocation string) time.Time {
	if len(invocation) < ulid.EncodedSize {
		return time.Time{}
	}
	u, err := ulid.ParseStrict(invocation[:ulid.EncodedSize])
	if err != nil {
		return time.Time{}
	}
	return ulid.Time(u.Time())
}

// Find returns the sealed action of an invocation, looking from a time on; the zero time stands for the one in the id. The error is
// ErrNotFound if there is none.
func (j *Journal) Find(ctx context.Context, invocation string, from time.Time) (*Action, error) {
	if from.IsZero() {
		if from = EventTime(invocation); from.IsZero() {
			return nil, fmt.Errorf("%w: %q is no action's id", ErrNotFound, invocation)
		}
		from = from.Add(-clockSkew)
	}
	var found *Action
	err := j.scan(ctx, bus.StreamActions, "tiercel.actions.>", from, wholeMessages, func(m jetstream.Msg) (bool, error) {
		if h := m.Headers(); h.Get(headerInvocation) != invocation || h.Get(headerTaken) != "" {
			return true, nil
		}
		a, err := decodeAction(m)
		found = a
		return false, err
	})
	if err != nil {
		return nil, fmt.Errorf("find action %s: %w", invocation, err)
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, invocation)
	}
	return found, nil
}

// Actions calls f with the sealed actions since a time whose subject matches, the oldest first, until f returns false.
func (j *Journal) Actions(ctx context.Context, subject string, from time.Time, f func(*Action) bool) error {
	return j.scan(ctx, bus.StreamActions, subject, from, wholeMessages, func(m jetstream.Msg) (bool, error) {
		if m.Headers().Get(headerTaken) != "" {
			return true, nil
		}
		a, err := decodeAction(m)
		if err != nil {
			return false, err
		}
		return f(a), nil
	})
}

func decodeAction(m jetstream.Msg) (*Action, error) {
	a := new(Action)
	if err := json.Unmarshal(m.Data(), a); err != nil {
		return nil, fmt.Errorf("sealed action: %w", err)
	}
	if meta, err := m.Metadata(); err == nil {
		a.Sealed, a.Sequence = meta.Timestamp, meta.Sequence.Stream
	}
	return a, nil
}

// Running calls f with every invocation that is not over, in no order, until f returns false.
func (j *Journal) Running(ctx context.Context, subject string, f func(*Action) bool) error {
	states := map[string]*State{}
	var order []string
	err := j.scan(ctx, bus.StreamJournal, subject, time.Time{}, wholeMessages, func(m jetstream.Msg) (bool, error) {
		id := m.Headers().Get(headerInvocation)
		if m.Headers().Get(headerSealed) != "" {
			delete(states, id)
			return true, nil
		}
		var r Record
		if err := json.Unmarshal(m.Data(), &r); err != nil {
			return false, fmt.Errorf("journal of %s: %w", id, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return false, err
		}
		if states[id] == nil {
			states[id] = new(State)
			order = append(order, id)
		}
		states[id].add(meta.Sequence.Stream, &r)
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, id := range order {
		if s := states[id]; s != nil && s.Claim != nil && !f(s.Action(id)) {
			return nil
		}
	}
	return nil
}

// Whether scan wants messages without their data.
const (
	wholeMessages = false
	headersOnly   = true
)

// scan calls f with the messages that a stream holds now, from a time on, until f returns false.
func (j *Journal) scan(ctx context.Context, stream, subject string, from time.Time, headers bool, f func(jetstream.Msg) (bool, error)) error {
	cfg := jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverAllPolicy, HeadersOnly: headers}
	if !from.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
	}
	cons, err := j.bus.JetStream().OrderedConsumer(ctx, stream, cfg)
	if err != nil {
		return err
	}
	info := cons.CachedInfo()
	if info == nil {
		return fmt.Errorf("read %s: no consumer", stream)
	}
	// Until the server forgets a consumer, each message that leaves the stream costs it a count of what the consumer has still to see.
	defer func() {
		dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if info := cons.CachedInfo(); info != nil {
			_ = j.bus.JetStream().DeleteConsumer(dctx, stream, info.Name) // it ends by itself as well
		}
	}()
	if info.NumPending == 0 {
		return nil
	}
	it, err := cons.Messages()
	if err != nil {
		return err
	}
	defer it.Stop()
	stop := context.AfterFunc(ctx, it.Stop)
	defer stop()
	for {
		m, err := it.Next()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		more, err := f(m)
		if err != nil || !more {
			return err
		}
		if meta, err := m.Metadata(); err != nil || meta.NumPending == 0 {
			return err
		}
	}
}

// At returns the action stored at a sequence of ACTIONS. The error is ErrNotFound if there is none.
func (j *Journal) At(ctx context.Context, sequence uint64) (*Action, error) {
	stream, err := j.bus.JetStream().Stream(ctx, bus.StreamActions)
	if err != nil {
		return nil, fmt.Errorf("action %d: %w", sequence, err)
	}
	m, err := stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && m.Header.Get(headerTaken) != "" {
		return nil, fmt.Errorf("action %d: %w", sequence, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("action %d: %w", sequence, err)
	}
	a := new(Action)
	if err := json.Unmarshal(m.Data, a); err != nil {
		return nil, fmt.Errorf("action %d: %w", sequence, err)
	}
	a.Sealed, a.Sequence = m.Time, m.Sequence
	return a, nil
}
