package journal

import "slices"

// An Outcome says how an invocation ended.
type Outcome string

// The outcomes.
const (
	Succeeded   Outcome = "succeeded"   // the function did what it is for
	Skipped     Outcome = "skipped"     // guard or function found nothing to do
	Pending     Outcome = "pending"     // not over: running or waiting for its next try
	Refused     Outcome = "refused"     // protection forbids acting on this target
	Failed      Outcome = "failed"      // the function says so, or was stopped (deadline, memory, trap), or its tries ran out
	Expired     Outcome = "expired"     // the event was older than maxAge
	Lost        Outcome = "lost"        // the stream discarded events before they were handled
	Crashed     Outcome = "crashed"     // three attempts ended without saying how
	Diverged    Outcome = "diverged"    // run again, the function asked for something else than recorded
	Unresumable Outcome = "unresumable" // what the attempt was pinned to is gone
	Unknown     Outcome = "unknown"     // nobody can tell whether an effect took place
	Stale       Outcome = "stale"       // an approved plan no longer fits
	Forged      Outcome = "forged"      // the event contradicts its address or the cluster
	Superseded  Outcome = "superseded"  // a newer invocation took its place
	Ineffective Outcome = "ineffective" // done, but found to have no effect
	Reverted    Outcome = "reverted"    // undone before it had ended
)

// Outcomes lists all outcomes.
var Outcomes = []Outcome{
	Succeeded, Skipped, Pending, Refused, Failed, Expired, Lost, Crashed, Diverged, Unresumable, Unknown, Stale,
	Forged, Superseded, Ineffective, Reverted,
}

// Valid reports whether o is one of Outcomes.
func (o Outcome) Valid() bool { return slices.Contains(Outcomes, o) }

// DeadLetter reports whether an invocation that ended so leaves a dead letter: somebody has to look.
func (o Outcome) DeadLetter() bool {
	switch o {
	case Crashed, Diverged, Unresumable, Unknown:
		return true
	}
	return false
}
