package capability

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// A Registry holds the operations a host offers. It is made once and is safe for concurrent use afterwards.
type Registry struct {
	ops map[string]Operation
}

// NewRegistry returns a registry of operations by the name a guest calls them by.
func NewRegistry(ops map[string]Operation) *Registry { return &Registry{ops: maps.Clone(ops)} }

// Names returns the operations on offer, sorted.
func (r *Registry) Names() []string { return slices.Sorted(maps.Keys(r.ops)) }

// Prepare authorises and completes a request. Its errors are *abi.Error (an answer for the guest: malformed, not granted, not there),
// a *TransientError, or one that wraps ErrForged.
func (r *Registry) Prepare(ctx context.Context, s Scope, op string, request []byte) (*Prepared, error) {
	o, err := r.operation(op)
	if err != nil {
		return nil, err
	}
	p, err := o.Prepare(ctx, s, request)
	if err != nil {
		return nil, err
	}
	p.Op, p.Digest = op, digest(op, p.Canonical)
	return p, nil
}

// Execute carries out what Prepare answered, or rehearses it when the scope's mode is DryRun. The effect id is the caller's, the same
// for every repetition of this effect and never used for another. Errors are as Prepare's.
func (r *Registry) Execute(ctx context.Context, s Scope, p *Prepared, effect string) (Result, error) {
	o, err := r.operation(p.Op)
	if err != nil {
		return Result{}, err
	}
	return o.Execute(ctx, s, p, effect)
}

// Look reports whether the effect is in the world already. It returns an error that wraps ErrUnknown where that cannot be known.
func (r *Registry) Look(ctx context.Context, s Scope, p *Prepared, effect string) (done bool, res Result, err error) {
	o, err := r.operation(p.Op)
	if err != nil {
		return false, Result{}, err
	}
	return o.Look(ctx, s, p, effect)
}

// Revert takes an effect back. Done twice, or for an effect that never took place, it changes nothing and says so in the note.
func (r *Registry) Revert(ctx context.Context, s Scope, i *Inverse, effect string) (Result, error) {
	if !i.Reversible() {
		return Result{}, fmt.Errorf("revert: %s", irreversible(i))
	}
	o, err := r.operation(i.Op)
	if err != nil {
		return Result{}, err
	}
	rev, ok := o.(Reverter)
	if !ok {
		return Result{}, fmt.Errorf("revert: operation %q takes nothing back", i.Op)
	}
	return rev.Revert(ctx, s, i, effect)
}

func irreversible(i *Inverse) string {
	if i != nil && i.Irreversible != "" {
		return i.Irreversible
	}
	return "no inverse was recorded"
}

func (r *Registry) operation(op string) (Operation, error) {
	if o, ok := r.ops[op]; ok {
		return o, nil
	}
	return nil, fmt.Errorf("there is no operation %q (there are %s)", op, slices.Sorted(maps.Keys(r.ops)))
}
