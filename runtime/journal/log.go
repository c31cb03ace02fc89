package journal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"
)

// A Log is the journal of one invocation as one attempt writes it. What Add is given rides with the next append. Its methods may be
// called from several goroutines: a heartbeat renews the lease while the attempt goes on.
type Log struct {
	j              *Journal
	fn, invocation string
	claim          Claim
	attempt        int

	turn chan struct{} // holds one token: who has it may append and touch what follows

	state   State
	claimed bool
	calls   []Call
	until   time.Duration // boot time at which the lease ends; 0 before the claim
	err     error         // of the append that failed: the log takes no more
}

// Begin returns the log of an attempt at an invocation in the given state; nil stands for one that has no journal yet. The claim is
// not written before the first append, or Claim.
func (j *Journal) Begin(fn, invocation string, claim Claim, s *State) *Log {
	if s == nil {
		s = new(State)
	}
	claim.Lease = j.cfg.Lease
	l := &Log{j: j, fn: fn, invocation: invocation, claim: claim, attempt: len(s.Attempts) + 1, turn: make(chan struct{}, 1), state: *s}
	if claim.Fresh {
		l.state.Calls, l.state.Intent = nil, nil
	}
	l.turn <- struct{}{}
	return l
}

// Attempt is the number of the attempt, from 1.
func (l *Log) Attempt() int { return l.attempt }

// Claim writes the claim, and nothing if it is written already.
func (l *Log) Claim(ctx context.Context) error {
	return l.do(ctx, func() error {
		if l.claimed {
			return nil
		}
		return l.append(ctx, &Record{})
	})
}

// Add keeps a finished call for the next append.
func (l *Log) Add(ctx context.Context, c Call) error {
	return l.do(ctx, func() error { l.calls = append(l.calls, c); return nil })
}

// Intend records that c is about to be done, with everything kept so far.
func (l *Log) Intend(ctx context.Context, c Call) error {
	return l.do(ctx, func() error { return l.append(ctx, &Record{Intent: &c}) })
}

// Renew extends the lease. The first one writes the claim.
func (l *Log) Renew(ctx context.Context) error {
	return l.do(ctx, func() error { return l.append(ctx, &Record{Lease: l.claimed}) })
}

// Suspend ends the attempt, not the invocation.
func (l *Log) Suspend(ctx context.Context, s Suspend) error {
	return l.do(ctx, func() error { return l.append(ctx, &Record{Suspend: &s}) })
}

// End records how the invocation ended, with everything kept so far, and returns what is to be sealed and after which sequence.
func (l *Log) End(ctx context.Context, e End) (a *Action, last uint64, err error) {
	err = l.do(ctx, func() error {
		if err := l.append(ctx, &Record{End: &e}); err != nil {
			return err
		}
		a, last = l.state.Action(l.invocation), l.state.Last
		return nil
	})
	return a, last, err
}

// Lease returns the boot time at which the lease ends: before it an effect may be sent. It is 0 while nothing was written.
func (l *Log) Lease() time.Duration {
	<-l.turn
	defer func() { l.turn <- struct{}{} }()
	return l.until
}

// do runs f while holding the turn.
func (l *Log) do(ctx context.Context, f func() error) error {
	select {
	case <-l.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { l.turn <- struct{}{} }()
	if l.err != nil {
		return l.err
	}
	if err := f(); err != nil {
		l.err = err
		return err
	}
	return nil
}

// append completes r, stores it and takes it over into the state. The caller holds the turn.
func (l *Log) append(ctx context.Context, r *Record) error {
	r.Nonce, r.Attempt, r.Runtime, r.Time = nonce(), l.attempt, l.j.cfg.Runtime, l.j.cfg.Clock.Now()
	if !l.claimed {
		r.Claim = &l.claim
	}
	r.Calls = l.calls
	before := l.j.cfg.Clock.Boot()
	if l.until != 0 && before >= l.until {
		return fmt.Errorf("journal of %s: %w", l.invocation, ErrLease)
	}
	// An append that takes longer than a lease is of no use to its writer.
	ctx, cancel := context.WithTimeout(ctx, l.j.cfg.Lease)
	defer cancel()
	seq, err := l.j.append(ctx, l.fn, l.invocation, r, l.state.Last, nil)
	if err != nil {
		return err
	}
	l.state.add(seq, r)
	l.claimed, l.calls, l.until = true, nil, before+l.j.cfg.Lease
	return nil
}

func nonce() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
