package journal

import (
	"slices"
	"strings"
	"time"
)

// A State is what an invocation's journal says.
type State struct {
	Last      uint64 // sequence of the last record; 0: there is none
	Attempts  []Attempt
	Claim     *Claim     // the latest
	Calls     []Call     // finished, in order
	Intent    *Call      // begun and not known to be finished
	Intents   int        // ever written
	Suspend   *Suspend   // the latest attempt is over
	Tombstone *Tombstone // no effect may follow
	End       *End       // not sealed yet
	EndTime   time.Time
	Sealed    uint64 // over and done with: sequence in ACTIONS
	nonce     string // of the last record
}

// Crashes counts the latest attempts in a row that ended without saying how. Those that an outage of the bus ended neither count nor end
// the row.
func (s *State) Crashes() int {
	n := 0
	for i := len(s.Attempts) - 1; i >= 0; i-- {
		switch ended := s.Attempts[i].Ended; {
		case ended == "":
			n++
		case !strings.HasPrefix(ended, interrupted):
			return n
		}
	}
	return n
}

// interrupted begins how an attempt ended that an outage of the bus ended.
const interrupted = "interrupted: "

// Running reports whether an attempt may be going on: there is a claim, and neither suspension nor end after it.
func (s *State) Running() bool {
	return s.Claim != nil && s.Suspend == nil && s.End == nil && s.Sealed == 0
}

// add brings s up to date with the next record.
func (s *State) add(seq uint64, r *Record) {
	s.Last, s.nonce = seq, r.Nonce
	if r.Claim != nil {
		s.claim(r)
	}
	if s.Calls == nil && s.Intent == nil {
		s.Calls = slices.Clip(r.Calls)
	} else {
		for i := range r.Calls {
			s.finish(r.Calls[i])
		}
	}
	if r.Intent != nil {
		c := *r.Intent
		s.Intent = &c
		s.Intents++
	}
	if r.Suspend != nil {
		s.Suspend = r.Suspend
		how := "suspended: "
		if r.Suspend.Outage {
			how = interrupted
		}
		s.ended(how + r.Suspend.Cause)
	}
	if r.Tombstone != nil {
		s.Tombstone = r.Tombstone
	}
	if r.End != nil {
		s.End, s.EndTime = r.End, r.Time
		s.ended("ended")
	}
	if r.Sealed != 0 {
		s.Sealed = r.Sealed
	}
}

func (s *State) claim(r *Record) {
	s.Claim, s.Suspend = r.Claim, nil
	if r.Claim.Fresh {
		s.Calls, s.Intent = nil, nil
	}
	s.Attempts = append(s.Attempts, Attempt{Number: r.Attempt, Runtime: r.Runtime, Time: r.Time, Decision: r.Claim.Decision})
}

// finish files a finished call; if it had an intent, what that said is kept.
func (s *State) finish(c Call) {
	if in := s.Intent; in != nil && in.Step == c.Step {
		c.Prepared, c.RevertAt, c.Start = in.Prepared, in.RevertAt, in.Start
		s.Intent = nil
	}
	s.Calls = append(s.Calls, c)
}

func (s *State) ended(how string) {
	if n := len(s.Attempts); n != 0 {
		s.Attempts[n-1].Ended = how
	}
}

// Recorded returns the finished call of that step.
func (s *State) Recorded(step int) (Call, bool) {
	i := slices.IndexFunc(s.Calls, func(c Call) bool { return c.Step == step })
	if i < 0 {
		return Call{}, false
	}
	return s.Calls[i], true
}

// Action tells the invocation's story so far.
func (s *State) Action(invocation string) *Action {
	a := &Action{ID: invocation, Outcome: Pending, Attempts: s.Attempts, Calls: slices.Clip(s.Calls)} // nobody changes a finished call
	if s.Intent != nil {
		a.Calls = append(a.Calls, *s.Intent)
	}
	if c := s.Claim; c != nil {
		a.Function, a.Mode, a.Event, a.Pins, a.Revert = c.Function, c.Mode, c.Event, c.Pins, c.Revert
	}
	if s.End != nil {
		a.Outcome, a.End, a.Ended = s.End.Outcome, *s.End, s.EndTime
	} else {
		a.Waiting = s.Suspend
	}
	return a
}
