package capability

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// prepareEviction requires the UID of the pod to evict: a pod of the same name may be an innocent successor.
func (o *createOp) prepareEviction(ctx context.Context, s Scope, q abi.KubernetesCreate) (*Prepared, error) {
	if q.Resource != "pods" || q.APIVersion != "v1" {
		return nil, invalid("only pods of v1 have the subresource eviction")
	}
	object, err := parseObject(q.Object, "object")
	if err != nil {
		return nil, err
	}
	uid, _, _ := unstructured.NestedString(object, "deleteOptions", "preconditions", "uid")
	if uid == "" {
		return nil, invalid("deleteOptions.preconditions.uid is missing: nothing is evicted by its name alone")
	}
	if q.Name == "" {
		q.Name = text(metadata(object), "name")
	}
	if q.Name == "" {
		return nil, invalid("name is missing")
	}
	r, err := o.c.forWrite(ctx, s, q.KubernetesRef, "create")
	if err != nil {
		return nil, err
	}
	if s.isTarget(r.access) && s.Target.PodUID != "" && uid != s.Target.PodUID {
		return nil, denied("%s: the event's pod has uid %q, the request says %q", r, s.Target.PodUID, uid)
	}
	object["apiVersion"], object["kind"] = "policy/v1", "Eviction"
	object["metadata"] = map[string]any{"name": r.ref.Name, "namespace": r.ref.Namespace}
	return &Prepared{
		Write: true, Class: Convergent, Canonical: mustJSON(createCall{KubernetesRef: r.ref, Object: mustJSON(object)}),
		Summary: r.String(), Inverse: &Inverse{Irreversible: "an evicted pod does not come back"},
	}, nil
}

func (o *createOp) evict(ctx context.Context, s Scope, r resolved, p *Prepared) (Result, error) {
	object, uid, err := evictionOf(p)
	if err != nil {
		return Result{}, err
	}
	if s.Mode != Enforce {
		options := object["deleteOptions"].(map[string]any)
		options["dryRun"] = []any{metav1.DryRunAll}
	}
	sctx, a, err := o.c.session(ctx, s)
	if err != nil {
		return Result{}, err
	}
	_, err = a.on(r.gvr, r.ref.Namespace).Create(sctx, &unstructured.Unstructured{Object: object},
		metav1.CreateOptions{FieldManager: s.Function.FieldManager(), DryRun: dryRunOption(s)}, "eviction")
	if err != nil && !gone(err) {
		return Result{}, o.c.failure(s, r.String(), err)
	}
	return evicted(s, r, uid, err), nil
}

// gone reports whether a delete or eviction with a UID precondition failed because that object is no longer there.
func gone(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsConflict(err)
}

func evictionOf(p *Prepared) (object map[string]any, uid string, err error) {
	var q createCall
	if err := recall(p.Canonical, &q); err != nil {
		return nil, "", err
	}
	if object, err = parseObject(q.Object, "object"); err != nil {
		return nil, "", err
	}
	uid, _, err = unstructured.NestedString(object, "deleteOptions", "preconditions", "uid")
	return object, uid, err
}

func evicted(s Scope, r resolved, uid string, err error) Result {
	dry := s.Mode != Enforce
	pod := map[string]any{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": map[string]any{"name": r.ref.Name, "namespace": r.ref.Namespace, "uid": uid}}
	res := Result{Response: response(pod, dry), Object: r.object(r.ref.Name), Rehearsed: dry}
	if err != nil {
		res.Note = fmt.Sprintf("gone already: %v", err)
	}
	return res
}

func (o *createOp) lookEvicted(ctx context.Context, s Scope, r resolved, p *Prepared) (bool, Result, error) {
	_, uid, err := evictionOf(p)
	if err != nil {
		return false, Result{}, err
	}
	done, err := o.c.isGone(ctx, s, r, uid)
	if err != nil || !done {
		return false, Result{}, err
	}
	s.Mode = Enforce
	return true, evicted(s, r, uid, nil), nil
}

// isGone reports whether the object of that UID is deleted or on its way.
func (c *Cluster) isGone(ctx context.Context, s Scope, r resolved, uid string) (bool, error) {
	u, err := c.read(ctx, s, r, r.ref.Name)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, c.failure(s, "look for "+r.object(r.ref.Name), err)
	}
	return string(u.GetUID()) != uid || u.GetDeletionTimestamp() != nil, nil
}
