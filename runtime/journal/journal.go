package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tiercel-project/tiercel/bus"
)

var (
	// ErrTaken means that somebody else has written to the invocation's journal: the caller must do nothing more for it.
	ErrTaken = errors.New("the invocation is another's")
	// ErrLease means that the lease ran out before the append was acknowledged.
	ErrLease = errors.New("the lease has run out")
	// ErrNotFound means that there is no such invocation.
	ErrNotFound = errors.New("no such action")
)

// Headers of the records, for those who look without decoding.
const (
	headerInvocation = "Tiercel-Invocation"
	headerSealed     = "Tiercel-Sealed"
	headerTaken      = "Tiercel-Taken"
)

// Config says how a Journal keeps time.
type Config struct {
	Runtime string        // name of this runtime, in claims
	Lease   time.Duration // of a claim, from before its append. Positive. Default 10s
	Seen    time.Duration // how long a sealed invocation refuses duplicates by itself, at most. Default 1h; see MinSeen
	Clock   Clock         // nil: SystemClock
}

// DefaultConfig is complete but for the runtime's name.
func DefaultConfig() Config {
	return Config{Runtime: "runtime", Lease: 10 * time.Second, Seen: time.Hour, Clock: SystemClock{}}
}

// A Journal reads and writes the records of all invocations. It is safe for concurrent use.
type Journal struct {
	cfg Config
	bus *bus.Bus

	marks marks
}

// New returns a Journal on streams that exist already.
func New(cfg Config, b *bus.Bus) *Journal {
	def := DefaultConfig()
	if cfg.Lease <= 0 {
		cfg.Lease = def.Lease
	}
	if cfg.Seen <= 0 {
		cfg.Seen = def.Seen
	}
	if cfg.Clock == nil {
		cfg.Clock = def.Clock
	}
	return &Journal{cfg: cfg, bus: b}
}

// Lease is how long a claim holds.
func (j *Journal) Lease() time.Duration { return j.cfg.Lease }

// Clock is what the journal keeps time by.
func (j *Journal) Clock() Clock { return j.cfg.Clock }

// Read reads an invocation's journal back from the stream's leader. An invocation without one has the zero State.
func (j *Journal) Read(ctx context.Context, fn, invocation string) (*State, error) {
	records, err := j.bus.ReadSubject(ctx, bus.StreamJournal, bus.JournalSubject(fn, invocation))
	if err != nil {
		return nil, fmt.Errorf("journal of %s: %w", invocation, err)
	}
	s := new(State)
	for _, m := range records {
		var r Record
		if err := json.Unmarshal(m.Data, &r); err != nil {
			return nil, fmt.Errorf("journal of %s: record %d: %w", invocation, m.Sequence, err)
		}
		s.add(m.Sequence, &r)
	}
	return s, nil
}

// append stores r if the subject's last record is still the one given (0: it has none), and returns its sequence. When it cannot know
// whether r was stored it tries again, and on a conflict reads back: a record with r's nonce is r.
func (j *Journal) append(ctx context.Context, fn, invocation string, r *Record, last uint64, h nats.Header) (uint64, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("journal of %s: %w", invocation, err)
	}
	if h == nil {
		h = nats.Header{}
	}
	h.Set(headerInvocation, invocation)
	m := bus.Record{Subject: bus.JournalSubject(fn, invocation), Header: h, Data: data}
	for {
		seq, err := j.bus.Append(ctx, m, last)
		switch {
		case err == nil:
			return seq, nil
		case errors.Is(err, bus.ErrWrongSequence):
			return j.confirm(ctx, fn, invocation, r, last)
		case errors.Is(err, bus.ErrStreamFull), errors.Is(err, nats.ErrConnectionClosed), pause(ctx, retryPause) != nil:
			return 0, fmt.Errorf("journal of %s: %w", invocation, err)
		}
	}
}

// retryPause is how long an append waits after an answer that says nothing.
const retryPause = 50 * time.Millisecond

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// confirm finds out after a conflict whose record is in the way.
func (j *Journal) confirm(ctx context.Context, fn, invocation string, r *Record, last uint64) (uint64, error) {
	s, err := j.Read(ctx, fn, invocation)
	if err != nil {
		return 0, err
	}
	if s.nonce == r.Nonce && s.Last > last {
		return s.Last, nil
	}
	return 0, fmt.Errorf("journal of %s: %w", invocation, ErrTaken)
}

// Fence leaves a tombstone in the journal of an invocation that is not over: every later append of its own fails, and so does every
// later effect once its lease has run out. It returns the state it found and does nothing if the invocation is over or fenced already.
func (j *Journal) Fence(ctx context.Context, fn, invocation, revert string) (*State, error) {
	for {
		s, err := j.Read(ctx, fn, invocation)
		if err != nil || s.Last == 0 || s.Sealed != 0 || s.Tombstone != nil {
			return s, err
		}
		r := &Record{Nonce: nonce(), Runtime: j.cfg.Runtime, Time: j.cfg.Clock.Now(), Tombstone: &Tombstone{Revert: revert}}
		seq, err := j.append(ctx, fn, invocation, r, s.Last, nil)
		if errors.Is(err, ErrTaken) {
			continue // its owner wrote in between
		}
		if err != nil {
			return nil, err
		}
		s.add(seq, r)
		return s, nil
	}
}
