package journal

import (
	"context"
	"time"

	"github.com/tiercel-project/tiercel/bus"
)

// Action returns the action of an invocation, running or sealed. The error is ErrNotFound if there is none.
func (j *Journal) Action(ctx context.Context, invocation string) (*Action, error) {
	var found *Action
	err := j.Running(ctx, bus.JournalSubjects, func(a *Action) bool {
		if a.ID == invocation {
			found = a
		}
		return found == nil
	})
	if err != nil || found != nil {
		return found, err
	}
	return j.Find(ctx, invocation, time.Time{})
}
