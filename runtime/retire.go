package runtime

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// retired is a function that was deleted.
type retired struct {
	*store.Entry
	missed bool // before this runtime began: only its keys go
}

// retire removes the keys of a deleted function and takes its credentials back, now or as soon as nothing of it is to be reverted any
// more: reverts put keys back, and act under the function's own account. Credentials that could not be taken back when the runtime ends stay.
func (r *Runtime) retire(ctx context.Context, e *store.Entry) {
	r.mu.Lock()
	r.retired[e.ID.UID] = retired{Entry: e}
	r.mu.Unlock()
	r.deprovision(ctx)
}

// missed removes the keys of functions of that token which were deleted while no runtime ran.
func (r *Runtime) missed(ctx context.Context, token string) {
	history, err := r.store.History(ctx, token)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, store.ErrNotFound) {
			r.log.Warn("keys of a deleted function may still be there", "function", token, "err", err)
		}
		return
	}
	r.mu.Lock()
	for _, e := range history {
		r.retired[e.ID.UID] = retired{Entry: e, missed: true}
	}
	r.mu.Unlock()
	r.deprovision(ctx)
}

// deprovision tries to take back what retired functions still have.
func (r *Runtime) deprovision(ctx context.Context) {
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.retired))
	r.mu.Unlock()
	for _, e := range all {
		done, err := r.deprovisionOne(ctx, e)
		if err != nil && ctx.Err() == nil {
			r.log.Warn("keys or credentials of a deleted function are still there, trying again", "function", e.Key(), "err", err)
		}
		if done {
			r.mu.Lock()
			delete(r.retired, e.ID.UID)
			r.mu.Unlock()
		}
	}
}

// deprovisionOne reports whether nothing is left to do.
func (r *Runtime) deprovisionOne(ctx context.Context, e retired) (bool, error) {
	now, err := r.store.Get(ctx, e.Key())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	if err == nil && now.ID.UID == e.ID.UID {
		return true, nil
	}
	if pending, err := r.reverter.Pending(ctx, e.ID); pending || err != nil {
		return false, err
	}
	if err := capability.ForgetKV(ctx, r.deps.Bus.JetStream(), e.ID.Capability()); err != nil {
		return false, err
	}
	if now != nil || e.missed || r.deps.Deprovision == nil {
		return true, nil // perhaps a new function of that name has taken the account over
	}
	doc, err := e.Parse()
	if err != nil {
		return false, err
	}
	grants := grantsOf(doc)
	if len(grants.Kubernetes)+len(grants.Exec) == 0 {
		return true, nil
	}
	if err := r.deps.Deprovision(ctx, e.ID.Capability(), grants); err != nil {
		return false, err
	}
	r.log.Info("credentials of the deleted function are taken back", "function", e.Key())
	return true, nil
}
