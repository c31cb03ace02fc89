package journal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
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
	began   time.Duration // boot time at which the attempt did
	claimed bool
	calls   []Call
	until   time.Duration // boot time at which the lease ends; 0 before the claim
	tried   bool          // an append was sent
	unsent  int           // step whose intent may be stored although its append failed: its effect was not sent
	err     error         // of the append that failed: the log takes no more
}

// Begin returns the log of an attempt at an invocation in the given state; nil stands for one that has no journal yet. The claim is
// not written before the first append, or Claim.
func (j *Journal) Begin(fn, invocation string, claim Claim, s *State) *Log {
	if s == nil {
		s = new(State)
	}
	claim.Lease = j.cfg.Lease
	l := &Log{j: j, fn: fn, invocation: invocation, claim: claim, attempt: len(s.Attempts) + 1, turn: make(chan struct{}, 1), state: *s, began: j.cfg.Clock.Boot()}
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
	return l.do(ctx, func() error {
		err := l.append(ctx, &Record{Intent: &c})
		if err != nil {
			l.unsent = c.Step
		}
		return err
	})
}

// Renew extends the lease. The first one writes the claim.
func (l *Log) Renew(ctx context.Context) error {
	return l.do(ctx, func() error { return l.append(ctx, &Record{Lease: l.claimed}) })
}

// Suspend ends the attempt, not the invocation.
func (l *Log) Suspend(ctx context.Context, s Suspend) error {
	return l.do(ctx, func() error { return l.append(ctx, &Record{Suspend: &s}) })
}

// Interrupt ends an attempt whose appends failed while the bus was away, once it answers again: it reads the journal back, and if the
// attempt is still the latest and has no end there, adds what was kept and s. If the claim was not stored it sees to it that it cannot
// come late. It returns ErrTaken if somebody else has claimed the invocation meanwhile. The log takes no more after it.
func (l *Log) Interrupt(ctx context.Context, s Suspend) error {
	select {
	case <-l.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { l.turn <- struct{}{} }()
	for {
		state, err := l.j.Read(ctx, l.fn, l.invocation)
		if err != nil {
			return err
		}
		r, err := l.interruption(state, s)
		if err != nil || r == nil {
			return err
		}
		_, err = l.j.append(ctx, l.fn, l.invocation, r, state.Last, nil)
		if !errors.Is(err, ErrTaken) {
			return err // otherwise an append of before came late: look again
		}
	}
}

// interruption is what Interrupt adds to a journal in that state; nil is nothing.
func (l *Log) interruption(state *State, s Suspend) (*Record, error) {
	n := len(state.Attempts)
	r := &Record{Nonce: nonce(), Attempt: l.attempt, Runtime: l.j.cfg.Runtime, Time: l.j.cfg.Clock.Now()}
	switch {
	case !l.tried || state.Sealed != 0 || state.End != nil || state.Tombstone != nil:
		return nil, nil
	case n < l.attempt:
		return r, nil // empty, but what the client still holds back is refused after it
	case n > l.attempt || state.Attempts[n-1].Runtime != l.j.cfg.Runtime:
		return nil, fmt.Errorf("journal of %s: %w", l.invocation, ErrTaken)
	case state.Attempts[n-1].Ended != "":
		return nil, nil
	}
	for _, c := range l.calls {
		if _, ok := state.Recorded(c.Step); !ok {
			r.Calls = append(r.Calls, c)
		}
	}
	if in := state.Intent; in != nil && in.Step == l.unsent {
		s.Unsent = in.Step
	}
	r.Suspend = &s
	return r, nil
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

// Finish is End, unless the attempt is the first at an invocation that only one delivery can know of (alone), has written nothing and began
// less than a lease ago: then it has no effects, over is true, nothing is recorded, and Send is all that is left to do. An older one must not
// Send: ACTIONS may have forgotten that somebody else took the invocation.
func (l *Log) Finish(ctx context.Context, e End, alone bool) (a *Action, last uint64, over bool, err error) {
	err = l.do(ctx, func() error {
		if over = alone && !l.tried && l.j.cfg.Clock.Boot()-l.began < l.j.cfg.Lease; over {
			l.state.add(0, &Record{Attempt: l.attempt, Runtime: l.j.cfg.Runtime, Time: l.j.cfg.Clock.Now(), Claim: &l.claim, Calls: l.calls, End: &e})
			l.claimed, l.calls = true, nil
		} else if err := l.append(ctx, &Record{End: &e}); err != nil {
			return err
		}
		a, last = l.state.Action(l.invocation), l.state.Last
		return nil
	})
	return a, last, over, err
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
	l.tried = true
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
