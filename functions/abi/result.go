package abi

// An Outcome is how a guest says an invocation ended. The runtime knows more outcomes; these are those a guest may give.
type Outcome string

// Outcomes that a guest may give.
const (
	OutcomeSucceeded   Outcome = "succeeded"   // what was to be done is done
	OutcomeSkipped     Outcome = "skipped"     // there was nothing to do for this event; Text says why
	OutcomeFailed      Outcome = "failed"      // it could not be done; Text says why
	OutcomeIneffective Outcome = "ineffective" // done, but found not to have the effect it is for
)

// Valid reports whether a guest may give o.
func (o Outcome) Valid() bool {
	switch o {
	case OutcomeSucceeded, OutcomeSkipped, OutcomeFailed, OutcomeIneffective:
		return true
	}
	return false
}

// A Result is what a guest writes with output, and the request of the operation outcome.
type Result struct {
	Outcome Outcome `json:"outcome"`
	Code    Code    `json:"code,omitempty"`  // of the error that made it fail, if that was an operation's
	Text    string  `json:"text,omitempty"`  // for people; at most MaxText bytes
	Retry   bool    `json:"retry,omitempty"` // failed: whether a fresh attempt can help
	Data    Raw     `json:"data,omitempty"`  // a JSON object of the function's own, shown with the action
}
