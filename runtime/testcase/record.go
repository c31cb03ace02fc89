package testcase

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tiercel-project/tiercel/runtime/journal"
)

// A Recording is a sealed action and what is needed beside it to run its function once more.
type Recording struct {
	Action *journal.Action
	Event  []byte                              // in full
	Config json.RawMessage                     // of the revision that ran
	Body   func(digest string) ([]byte, error) // a large answer
}

// Case returns the case of a recording, without what is expected.
func (r *Recording) Case(file string) (*Case, error) {
	a := r.Action
	var event bytes.Buffer
	if err := json.Indent(&event, r.Event, "", "  "); err != nil {
		return nil, fmt.Errorf("event %s: %w", a.Event.ID, err)
	}
	event.WriteByte('\n')
	var answers bytes.Buffer
	for _, c := range a.Calls {
		if c.Done.IsZero() {
			return nil, fmt.Errorf("action %s: the answer to call %d is not on record", a.ID, c.Step)
		}
		response := c.Response
		if c.Body != "" {
			var err error
			if response, err = r.Body(c.Body); err != nil {
				return nil, fmt.Errorf("action %s: answer to call %d: %w", a.ID, c.Step, err)
			}
		}
		answer := Answer{Op: c.Op, Response: response, Error: c.Error}
		answers.WriteString(answer.format())
	}
	archive := &txtar.Archive{
		Comment: fmt.Appendf(nil, "Recorded from action %s: rule %q, %s.\n", a.ID, a.Event.Rule, a.Mode),
		Files: []txtar.File{
			{Name: partInvocation, Data: []byte(block("", encode(map[string]string{"id": a.ID, "function": a.Function.Name})))},
			{Name: partEvent, Data: event.Bytes()},
			{Name: partConfig, Data: []byte(block("", r.Config))},
			{Name: partAnswers, Data: answers.Bytes()},
		},
	}
	if len(r.Config) == 0 {
		archive.Files[2].Data = []byte("{}\n")
	}
	return Parse(file, txtar.Format(archive), Defaults{})
}

// Differences says in what a run of the recorded case is not what was recorded.
func (r *Recording) Differences(run *Run) []string {
	var out []string
	for i, c := range r.Action.Calls {
		if i < len(run.Requests) && c.Request != journal.RequestDigest(run.Requests[i].Op, run.Requests[i].Body) {
			out = append(out, fmt.Sprintf("call %d, %s, is not the one on record", c.Step, c.Op))
		}
	}
	got := string(run.Result.Outcome)
	if run.Fault != nil {
		got = string(journal.Failed)
	}
	if got == "" {
		got = string(journal.Succeeded)
	}
	if want := string(r.Action.Outcome); got != want {
		out = append(out, fmt.Sprintf("it ended as %s, on record is %s", got, want))
	}
	return out
}
