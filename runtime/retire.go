package runtime

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/tiercel-project/tiercel/runtime/store"
)

// retire takes the credentials of a deleted function back, now or as soon as nothing of it is to be reverted any more: reverts act under
// the function's own account. What could not be done when the runtime ends stays.
func (r *Runtime) retire(ctx context.Context, e *store.Entry) {
	if r.deps.Deprovision == nil {
		return
	}
	r.mu.Lock()
	r.retired[e.ID.UID] = e
	r.mu.Unlock()
	r.deprovision(ctx)
}

// deprovision tries to take back what retired functions still have.
func (r *Runtime) deprovision(ctx context.Context) {
	r.mu.Lock()
	retired := slices.Collect(maps.Values(r.retired))
	r.mu.Unlock()
	for _, e := range retired {
		done, err := r.deprovisionOne(ctx, e)
		if err != nil && ctx.Err() == nil {
			r.log.Warn("credentials of a deleted function are still there, trying again", "function", e.Key(), "err", err)
		}
		if done {
			r.mu.Lock()
			delete(r.retired, e.ID.UID)
			r.mu.Unlock()
		}
	}
}

// deprovisionOne reports whether nothing is left to do.
func (r *Runtime) deprovisionOne(ctx context.Context, e *store.Entry) (bool, error) {
	switch _, err := r.store.Get(ctx, e.Key()); {
	case err == nil:
		return true, nil // a new function of that name has taken the account over
	case !errors.Is(err, store.ErrNotFound):
		return false, err
	}
	doc, err := e.Parse()
	if err != nil {
		return false, err
	}
	grants := grantsOf(doc)
	if len(grants.Kubernetes)+len(grants.Exec) == 0 {
		return true, nil
	}
	if pending, err := r.reverter.Pending(ctx, e.ID); pending || err != nil {
		return false, err
	}
	if err := r.deps.Deprovision(ctx, e.ID.Capability(), grants); err != nil {
		return false, err
	}
	r.log.Info("credentials of the deleted function are taken back", "function", e.Key())
	return true, nil
}
