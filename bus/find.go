package bus

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// idTime returns the node and the time in an id <node>-<ULID>.
func idTime(id string) (node string, t time.Time, ok bool) {
	i := len(id) - ulid.EncodedSize - 1
	if i < 1 || id[i] != '-' {
		return "", time.Time{}, false
	}
	u, err := ulid.ParseStrict(id[i+1:])
	if err != nil || !isName(id[:i]) {
		return "", time.Time{}, false
	}
	return id[:i], ulid.Time(u.Time()), true
}

// An IDs makes the ids of one node's events. It is safe for concurrent use.
type IDs struct {
	prefix  string
	mu      sync.Mutex
	entropy ulid.MonotonicReader // guarded by mu
}

// NewIDs returns the IDs of a node; node is a Kubernetes name or NodeName's result.
func NewIDs(node string) *IDs {
	return &IDs{prefix: node + "-", entropy: ulid.Monotonic(bufio.NewReaderSize(rand.Reader, 640), 0)}
}

// New returns the id of an event that happened at t: <node>-<ULID>.
func (g *IDs) New(t time.Time) string {
	var u ulid.ULID
	ms := uint64(max(t.UnixMilli(), 0))
	g.mu.Lock()
	err := errors.Join(u.SetTime(min(ms, ulid.MaxTime())), g.entropy.MonotonicRead(u.Time(), u[6:]))
	g.mu.Unlock()
	if err != nil {
		_, _ = rand.Read(u[6:]) // the counter of this millisecond ran over: order within it is lost, uniqueness is not
	}
	return g.prefix + u.String()
}

// clockSkew is how far the clocks of a node and of the server may be apart for an event to be found by its time.
const clockSkew = 5 * time.Second

// Event returns the event with this id, or ErrNotFound. An id <node>-<ULID> names its node and time: only that node's events stored
// around that time are looked at, then those stored later (it may have waited in a spool). Other ids name nothing, so the whole stream is
// looked through, headers only.
func (b *Bus) Event(ctx context.Context, id string) (*Received, error) {
	seq, err := b.findEvent(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", id, err)
	}
	st, err := b.stream(ctx, StreamEvents)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", id, noStream(err))
	}
	m, err := st.GetMsg(ctx, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, fmt.Errorf("event %s: %w", id, ErrNotFound) // it aged out between the two
	case err != nil:
		return nil, fmt.Errorf("event %s: %w", id, err)
	}
	r := &Received{Subject: Subject(m.Subject), Sequence: m.Sequence, Stored: m.Time, Data: m.Data}
	if r.Event, err = Decode(m.Header, m.Data); err != nil {
		return r, fmt.Errorf("event %s: %w", id, err)
	}
	return r, nil
}

func (b *Bus) findEvent(ctx context.Context, id string) (uint64, error) {
	node, t, ok := idTime(id)
	if !ok {
		return b.scan(ctx, id, Query{All: true})
	}
	// Nearly always it was stored within a moment. Only if not, clocks may differ, or it waited.
	seq, err := b.scan(ctx, id, Query{Node: node, Since: t, Until: t.Add(2 * time.Second)})
	if errors.Is(err, ErrNotFound) {
		seq, err = b.scan(ctx, id, Query{Node: node, Since: t.Add(-clockSkew)})
	}
	return seq, err
}

// scan looks for the message with this id among those that q selects by node and time, headers only.
func (b *Bus) scan(ctx context.Context, id string, q Query) (uint64, error) {
	next, stop, err := b.messages(ctx, &q, true)
	if err != nil {
		return 0, err
	}
	defer stop()
	for {
		r, _, err := next(ctx, true)
		switch {
		case errors.Is(err, errNoMore):
			return 0, ErrNotFound
		case err != nil:
			return 0, err
		case r.header.Get(jetstream.MsgIDHeader) == id:
			return r.Sequence, nil
		case !q.Until.IsZero() && r.Stored.After(q.Until):
			return 0, ErrNotFound
		}
	}
}
