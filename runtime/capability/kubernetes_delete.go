package capability

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// deleteOp is kubernetes.delete, and takes back what kubernetes.create made.
type deleteOp struct{ c *Cluster }

// Prepare authorises the delete and makes sure that the object of that UID is there.
func (o *deleteOp) Prepare(ctx context.Context, s Scope, request []byte) (*Prepared, error) {
	var q abi.KubernetesDelete
	if err := decode(request, &q); err != nil {
		return nil, err
	}
	if q.Name == "" || q.Subresource != "" {
		return nil, invalid("a delete has a name and no subresource")
	}
	if q.UID == "" {
		return nil, invalid("uid is missing: nothing is deleted by its name alone")
	}
	switch q.Propagation {
	case "", "Background", "Foreground", "Orphan":
	default:
		return nil, invalid("propagation %q is none of Background, Foreground, Orphan", q.Propagation)
	}
	r, err := o.c.forWrite(ctx, s, q.KubernetesRef, "delete")
	if err != nil {
		return nil, err
	}
	if err := o.checkObject(ctx, s, r, q); err != nil {
		return nil, err
	}
	q.KubernetesRef = r.ref
	return &Prepared{
		Write: true, Class: Convergent, Canonical: mustJSON(q), Summary: r.String(),
		Inverse: &Inverse{Irreversible: "a deleted object does not come back"},
	}, nil
}

func (o *deleteOp) checkObject(ctx context.Context, s Scope, r resolved, q abi.KubernetesDelete) error {
	if s.isTarget(r.access) && r.access.isPod() && s.Target.PodUID != "" {
		if q.UID != s.Target.PodUID {
			return denied("%s: the event's pod has uid %q, the request says %q", r, s.Target.PodUID, q.UID)
		}
		return nil // forWrite has just found it there
	}
	u, err := o.c.read(ctx, s, r, q.Name)
	if err != nil {
		return o.c.failure(s, r.String(), err)
	}
	if string(u.GetUID()) != q.UID {
		return abiErrorf(abi.CodeNotFound, "%s: the object with uid %q is gone", r, q.UID)
	}
	return s.writable(r.access, u.Object)
}

// Execute deletes the object of that UID. That it is gone is the goal, whoever did it.
func (o *deleteOp) Execute(ctx context.Context, s Scope, p *Prepared, _ string) (Result, error) {
	var q abi.KubernetesDelete
	if err := recall(p.Canonical, &q); err != nil {
		return Result{}, err
	}
	r := located(q.KubernetesRef, "delete")
	// checkTarget is not asked again: a repeated delete may have removed the very pod.
	if err := s.Grants.granted(r.access); err != nil {
		return Result{}, err
	}
	if err := o.c.protect(r.access); err != nil {
		return Result{}, err
	}
	sctx, a, err := o.c.session(ctx, s)
	if err != nil {
		return Result{}, err
	}
	res := o.deleted(s, r, q)
	err = a.on(r.gvr, q.Namespace).Delete(sctx, q.Name, deleteOptions(s, q))
	switch {
	case apierrors.IsNotFound(err):
		res.Note = "gone already"
	case apierrors.IsConflict(err):
		if done, lookErr := o.c.isGone(ctx, s, r, q.UID); lookErr != nil || !done {
			return Result{}, o.c.failure(s, r.String(), err)
		}
		res.Note = "gone already"
	case s.Mode != Enforce && apierrors.IsForbidden(err):
		res.Note = rehearsedNote(err)
	case err != nil:
		return Result{}, o.c.failure(s, r.String(), err)
	}
	return res, nil
}

func deleteOptions(s Scope, q abi.KubernetesDelete) metav1.DeleteOptions {
	uid := types.UID(q.UID)
	opts := metav1.DeleteOptions{DryRun: dryRunOption(s), GracePeriodSeconds: q.GracePeriodSeconds, Preconditions: &metav1.Preconditions{UID: &uid}}
	if q.ResourceVersion != "" {
		opts.Preconditions.ResourceVersion = &q.ResourceVersion
	}
	if q.Propagation != "" {
		policy := metav1.DeletionPropagation(q.Propagation)
		opts.PropagationPolicy = &policy
	}
	return opts
}

func (o *deleteOp) deleted(s Scope, r resolved, q abi.KubernetesDelete) Result {
	dry := s.Mode != Enforce
	return Result{Response: mustJSON(abi.KubernetesDeleted{UID: q.UID, DryRun: dry}), Object: r.object(q.Name), Rehearsed: dry}
}

// Look reports whether the goal state holds.
func (o *deleteOp) Look(ctx context.Context, s Scope, p *Prepared, _ string) (bool, Result, error) {
	var q abi.KubernetesDelete
	if err := recall(p.Canonical, &q); err != nil {
		return false, Result{}, err
	}
	r := located(q.KubernetesRef, "delete")
	done, err := o.c.isGone(ctx, s, r, q.UID)
	if err != nil || !done {
		return false, Result{}, err
	}
	s.Mode = Enforce
	return true, o.deleted(s, r, q), nil
}

// createdInverse is how a create is taken back. Before the create is known to have taken place there is no UID: then the mark of the
// effect identifies the object.
type createdInverse struct {
	abi.KubernetesRef
	Prefix string `json:"prefix,omitempty"` // of the name, where the effect id makes the rest
	UID    string `json:"uid,omitempty"`
}

// maxRaces bounds how often a write is repeated because others wrote the same object in between.
const maxRaces = 5

// Revert deletes what the effect created, and nothing else that may have its name now.
func (o *deleteOp) Revert(ctx context.Context, s Scope, i *Inverse, effect string) (Result, error) {
	var q createdInverse
	if err := recall(i.Request, &q); err != nil {
		return Result{}, err
	}
	if q.Name == "" {
		q.Name = q.Prefix + effectName(effect)
	}
	r := located(q.KubernetesRef, "delete")
	var err error
	for range maxRaces {
		var res Result
		if res, err = o.revertOnce(ctx, s, r, q, effect); err == nil || !apierrors.IsConflict(err) {
			return res, o.c.failure(s, "revert: "+r.String(), err)
		}
	}
	return Result{}, &TransientError{Err: fmt.Errorf("revert: %s: %w", r, err)}
}

func (o *deleteOp) revertOnce(ctx context.Context, s Scope, r resolved, q createdInverse, effect string) (Result, error) {
	res := Result{Object: r.object(q.Name), Rehearsed: s.Mode != Enforce}
	u, err := o.c.read(ctx, s, r, q.Name)
	if apierrors.IsNotFound(err) {
		res.Note = "nothing to take back: the object is not there"
		return res, nil
	}
	if err != nil {
		return Result{}, err
	}
	ours := string(u.GetUID()) == q.UID
	if q.UID == "" {
		ours = u.GetAnnotations()[s.Function.Annotation()] == effect
	}
	if !ours {
		res.Note = "left alone: the object of that name is not the one this effect created"
		return res, nil
	}
	del := abi.KubernetesDelete{UID: string(u.GetUID()), ResourceVersion: u.GetResourceVersion()}
	sctx, a, err := o.c.session(ctx, s)
	if err != nil {
		return Result{}, err
	}
	err = a.on(r.gvr, q.Namespace).Delete(sctx, q.Name, deleteOptions(s, del))
	if apierrors.IsNotFound(err) {
		err = nil
	}
	res.Response = mustJSON(abi.KubernetesDeleted{UID: del.UID, DryRun: s.Mode != Enforce})
	return res, err
}
