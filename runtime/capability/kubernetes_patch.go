package capability

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// patchOp is kubernetes.patch, and takes its own patches back. Whatever form a patch comes in, what is sent is a merge patch of the
// fields it changes, with UID and resourceVersion as preconditions; only server-side apply stays what it is, because it owns fields.
type patchOp struct{ c *Cluster }

// patchCall is the canonical form of a patch. Set names every field that changes and its new value; Former, the values at the time
// of the intent. The effect's precondition is that they still hold: a resourceVersion that moved for another reason does not stop it.
type patchCall struct {
	abi.KubernetesRef
	UID             string          `json:"uid"`
	ResourceVersion string          `json:"resourceVersion"`
	Pinned          bool            `json:"pinned,omitempty"` // the guest gave the resourceVersion: it must be that one
	Apply           json.RawMessage `json:"apply,omitempty"`  // the configuration applied
	Set             fields          `json:"set"`
	Former          fields          `json:"former,omitzero"` // absent for Secrets, whose values are not recorded
}

// patchInverse is how a patch is taken back: fields that still hold what Set put there get their Former values.
type patchInverse struct {
	abi.KubernetesRef
	UID    string `json:"uid"`
	Set    fields `json:"set"`
	Former fields `json:"former"`
}

// Prepare authorises the patch, reads the object and works out what the patch changes.
func (o *patchOp) Prepare(ctx context.Context, s Scope, request []byte) (*Prepared, error) {
	var q abi.KubernetesPatch
	if err := decode(request, &q); err != nil {
		return nil, err
	}
	if q.Name == "" {
		return nil, invalid("name is missing")
	}
	r, err := o.c.permit(ctx, s, q.KubernetesRef, "patch")
	if err != nil {
		return nil, err
	}
	now, err := o.c.read(ctx, s, r, q.Name)
	if err != nil {
		return nil, o.c.failure(s, r.String(), err)
	}
	if r.access.isPod() && s.isTarget(r.access) && s.Target.PodUID != "" { // the object read tells what checkTarget would ask for
		err = o.c.confirmTarget(s, now)
	} else {
		err = o.c.checkTarget(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	if err := checkPatched(s, r, q, now); err != nil {
		return nil, err
	}
	call := patchCall{KubernetesRef: r.ref, UID: string(now.GetUID()), ResourceVersion: now.GetResourceVersion(), Pinned: q.ResourceVersion != ""}
	if err := o.changes(ctx, s, r, q, now, &call); err != nil {
		return nil, err
	}
	call.Former = former(now.Object, call.Set)
	p := &Prepared{Write: true, Class: Conditional, Summary: r.String()}
	if r.access.group == "" && r.access.resource == "secrets" {
		call.Former = nil
		p.Inverse = &Inverse{Irreversible: "values of Secrets are not recorded, so there is nothing to put back"}
	} else {
		back := patchInverse{KubernetesRef: r.ref, UID: call.UID, Set: call.Set, Former: call.Former}
		p.Inverse = &Inverse{Op: abi.OpKubernetesPatch, Request: mustJSON(back), Summary: "put back the former values in " + r.object(q.Name)}
	}
	p.Canonical = mustJSON(call)
	return p, nil
}

func checkPatched(s Scope, r resolved, q abi.KubernetesPatch, now *unstructured.Unstructured) error {
	uid := string(now.GetUID())
	switch {
	case q.UID != "" && q.UID != uid:
		return abiErrorf(abi.CodeConflict, "%s: the object has uid %q, the request says %q", r, uid, q.UID)
	case q.ResourceVersion != "" && q.ResourceVersion != now.GetResourceVersion():
		return abiErrorf(abi.CodeConflict, "%s: the object has resourceVersion %q, the request says %q", r, now.GetResourceVersion(), q.ResourceVersion)
	case r.access.isPod() && s.isTarget(r.access) && s.Target.PodUID != "" && uid != s.Target.PodUID:
		return abiErrorf(abi.CodeConflict, "%s: the event's pod had uid %q, this one has %q", r, s.Target.PodUID, uid)
	}
	return s.writable(r.access, now.Object)
}

// changes fills in what the patch changes. Merge patches say so themselves; of others the API server is asked in a dry run.
func (o *patchOp) changes(ctx context.Context, s Scope, r resolved, q abi.KubernetesPatch, now *unstructured.Unstructured, call *patchCall) error {
	var kind types.PatchType
	switch q.Type {
	case "", abi.PatchMerge:
		set, err := parseObject(q.Patch, "patch")
		if err != nil {
			return err
		}
		call.Set = set
		return refusePatched(set)
	case abi.PatchJSON:
		patch, err := plainPatch(q.Patch)
		if err != nil {
			return err
		}
		kind, q.Patch = types.JSONPatchType, patch
	case abi.PatchStrategic:
		kind = types.StrategicMergePatchType
	case abi.PatchApply:
		applied, err := applied(q, call)
		if err != nil {
			return err
		}
		kind, call.Apply = types.ApplyPatchType, applied
		q.Patch = abi.Raw(applied)
	default:
		return invalid("type %q is none of merge, json, strategic, apply", q.Type)
	}
	sctx, a, err := o.c.session(ctx, s)
	if err != nil {
		return err
	}
	opts := metav1.PatchOptions{FieldManager: s.Function.FieldManager(), DryRun: []string{metav1.DryRunAll}}
	then, err := a.on(r.gvr, r.ref.Namespace).Patch(sctx, q.Name, kind, q.Patch, opts, subresource(r)...)
	if err != nil {
		return o.c.failure(s, "rehearse "+r.String(), err)
	}
	call.Set = difference(settled(now.Object), settled(then.Object))
	return refusePatched(call.Set)
}

// plainPatch refuses what a JSON patch would read of the object: copy and move bring a value that is redacted to a place that is not, and
// test tells whether it was guessed. The patch is encoded anew, so that the API server reads the operations that were looked at.
func plainPatch(patch []byte) (abi.Raw, error) {
	var ops []map[string]json.RawMessage
	if err := json.Unmarshal(patch, &ops); err != nil || ops == nil {
		return nil, invalid("patch must be a list of operations for type json")
	}
	for i, o := range ops {
		var op string
		_ = json.Unmarshal(o["op"], &op) // what is no text is none of these
		switch op {
		case "add", "remove", "replace":
		default:
			return nil, invalid("patch[%d]: op %q is none of add, remove, replace", i, op)
		}
	}
	return abi.Raw(mustJSON(ops)), nil
}

func subresource(r resolved) []string {
	if r.ref.Subresource == "" {
		return nil
	}
	return []string{r.ref.Subresource}
}

// applied completes a configuration for server-side apply.
func applied(q abi.KubernetesPatch, call *patchCall) ([]byte, error) {
	object, err := parseObject(q.Patch, "patch")
	if err != nil {
		return nil, err
	}
	if err := refuseMarks(object); err != nil {
		return nil, err
	}
	meta := metadata(object)
	if n := text(meta, "name"); n != "" && n != q.Name {
		return nil, invalid("metadata.name is %q, the request says %q", n, q.Name)
	}
	delete(meta, "resourceVersion")
	u := &unstructured.Unstructured{Object: object}
	u.SetName(q.Name)
	u.SetNamespace(call.Namespace)
	u.SetUID(types.UID(call.UID)) // the API server refuses to apply onto a successor
	return mustJSON(object), nil
}

// settled is an object without what changes with every write.
func settled(o map[string]any) map[string]any {
	o = maps.Clone(o)
	if meta := maps.Clone(metadata(o)); meta != nil {
		for _, key := range []string{"resourceVersion", "generation", "managedFields"} {
			delete(meta, key)
		}
		o["metadata"] = meta
	}
	return o
}

// refusePatched refuses changes to what identifies an object or marks effects.
func refusePatched(set map[string]any) error {
	if err := refuseMarks(set); err != nil {
		return err
	}
	for _, key := range []string{"apiVersion", "kind"} {
		delete(set, key)
	}
	if m, ok := set["metadata"]; ok && m == nil {
		return invalid("metadata cannot be removed")
	}
	for _, key := range []string{"name", "namespace", "uid", "resourceVersion", "generation", "managedFields", "creationTimestamp"} {
		if _, ok := metadata(set)[key]; ok {
			return invalid("metadata.%s is not a guest's to write; uid and resourceVersion are given beside the patch", key)
		}
	}
	if a, ok := metadata(set)["annotations"]; ok && a == nil {
		return invalid("all annotations cannot be removed at once: the runtime's mark is among them")
	}
	return nil
}

// Execute sends the patch. When the object has moved on meanwhile it looks whether that was this effect, or left the fields alone.
func (o *patchOp) Execute(ctx context.Context, s Scope, p *Prepared, effect string) (Result, error) {
	var q patchCall
	if err := recall(p.Canonical, &q); err != nil {
		return Result{}, err
	}
	r := located(q.KubernetesRef, "patch")
	if err := o.c.reauthorise(ctx, s, r); err != nil {
		return Result{}, err
	}
	var err error
	for range maxRaces {
		var got *unstructured.Unstructured
		if got, err = o.send(ctx, s, r, q, effect); err == nil {
			return o.patched(s, r, q, got), nil
		}
		if s.Mode != Enforce && apierrors.IsForbidden(err) {
			return o.rehearse(ctx, s, r, q, err)
		}
		if !apierrors.IsConflict(err) || s.Mode == Enforce && q.Apply != nil && isFieldConflict(err) {
			break
		}
		res, done, again := o.race(ctx, s, r, &q, effect)
		if done || again != nil {
			return res, again
		}
		err = &TransientError{Err: fmt.Errorf("%s: %w", r, err)} // others write the object all the time, but not these fields
	}
	return Result{}, o.c.failure(s, r.String(), err)
}

// isFieldConflict tells a field that somebody else applied from a resourceVersion that moved.
func isFieldConflict(err error) bool {
	status, ok := err.(apierrors.APIStatus)
	if !ok || status.Status().Details == nil {
		return false
	}
	for _, c := range status.Status().Details.Causes {
		if c.Type == metav1.CauseTypeFieldManagerConflict {
			return true
		}
	}
	return false
}

func (o *patchOp) send(ctx context.Context, s Scope, r resolved, q patchCall, effect string) (*unstructured.Unstructured, error) {
	kind, body := types.MergePatchType, any(nil)
	if q.Apply != nil {
		object, err := parseObject(q.Apply, "apply")
		if err != nil {
			return nil, err
		}
		kind, body = types.ApplyPatchType, object
	} else {
		body = cloneJSON(q.Set)
	}
	object := body.(map[string]any)
	annotate(object, s.Function.Annotation(), effect)
	metadata(object)["uid"], metadata(object)["resourceVersion"] = q.UID, q.ResourceVersion
	sctx, a, err := o.c.session(ctx, s)
	if err != nil {
		return nil, err
	}
	opts := metav1.PatchOptions{FieldManager: s.Function.FieldManager(), DryRun: dryRunOption(s)}
	return a.on(r.gvr, r.ref.Namespace).Patch(sctx, q.Name, kind, mustJSON(object), opts, subresource(r)...)
}

func cloneJSON(m map[string]any) map[string]any {
	c := make(map[string]any, len(m))
	for k, v := range m {
		if child, ok := v.(map[string]any); ok {
			v = cloneJSON(child)
		}
		c[k] = v
	}
	return c
}

// race is what follows a conflict: the effect may be done (by an attempt whose answer was lost), the object may be another one, the
// fields may have been changed by somebody; or the conflict came from elsewhere, and q gets the resourceVersion to try again with.
func (o *patchOp) race(ctx context.Context, s Scope, r resolved, q *patchCall, effect string) (res Result, done bool, err error) {
	now, err := o.c.read(ctx, s, r, q.Name)
	if err != nil {
		return Result{}, false, o.c.failure(s, r.String(), err)
	}
	if now.GetAnnotations()[s.Function.Annotation()] == effect && string(now.GetUID()) == q.UID {
		res = o.patched(s, r, *q, now)
		res.Note = "found done by an earlier attempt"
		return res, true, nil
	}
	switch {
	case string(now.GetUID()) != q.UID:
		err = abiErrorf(abi.CodeConflict, "%s: the object with uid %q is gone", r, q.UID)
	case q.Pinned:
		err = abiErrorf(abi.CodeConflict, "%s: resourceVersion %q has been followed by %q", r, q.ResourceVersion, now.GetResourceVersion())
	case q.Former == nil || !holds(now.Object, q.Former):
		err = abiErrorf(abi.CodeConflict, "%s: somebody has changed the same fields meanwhile", r)
	}
	q.ResourceVersion = now.GetResourceVersion()
	return Result{}, false, err
}

func (o *patchOp) patched(s Scope, r resolved, q patchCall, got *unstructured.Unstructured) Result {
	dry := s.Mode != Enforce
	return Result{
		Response: response(got.Object, dry), Object: r.object(q.Name), Rehearsed: dry,
		Before: mustJSON(q.Former), After: mustJSON(q.Set),
	}
}

// rehearse is the dry run of a function whose credentials may only read.
func (o *patchOp) rehearse(ctx context.Context, s Scope, r resolved, q patchCall, refusal error) (Result, error) {
	now, err := o.c.read(ctx, s, r, q.Name)
	if err != nil {
		return Result{}, o.c.failure(s, r.String(), err)
	}
	merged, _ := applyMerge(now.Object, map[string]any(q.Set)).(map[string]any)
	res := o.patched(s, r, q, &unstructured.Unstructured{Object: merged})
	res.Note = rehearsedNote(refusal)
	return res, nil
}

// Look finds the mark of the effect, or the goal state.
func (o *patchOp) Look(ctx context.Context, s Scope, p *Prepared, effect string) (bool, Result, error) {
	var q patchCall
	if err := recall(p.Canonical, &q); err != nil {
		return false, Result{}, err
	}
	r := located(q.KubernetesRef, "patch")
	now, err := o.c.read(ctx, s, r, q.Name)
	if apierrors.IsNotFound(err) {
		return false, Result{}, nil
	}
	if err != nil {
		return false, Result{}, o.c.failure(s, "look for "+r.object(q.Name), err)
	}
	marked := now.GetAnnotations()[s.Function.Annotation()] == effect
	if string(now.GetUID()) != q.UID || !marked && !holds(now.Object, q.Set) {
		return false, Result{}, nil
	}
	s.Mode = Enforce
	res := o.patched(s, r, q, now)
	res.Note = "found done by an earlier attempt"
	return true, res, nil
}

// Revert puts the former values back wherever the patch's own still stand.
func (o *patchOp) Revert(ctx context.Context, s Scope, i *Inverse, effect string) (Result, error) {
	var q patchInverse
	if err := recall(i.Request, &q); err != nil {
		return Result{}, err
	}
	r := located(q.KubernetesRef, "patch")
	var err error
	for range maxRaces {
		var res Result
		if res, err = o.revertOnce(ctx, s, r, q, effect); err == nil || !apierrors.IsConflict(err) {
			return res, o.c.failure(s, "revert: "+r.String(), err)
		}
	}
	return Result{}, &TransientError{Err: fmt.Errorf("revert: %s: %w", r, err)}
}

func (o *patchOp) revertOnce(ctx context.Context, s Scope, r resolved, q patchInverse, effect string) (Result, error) {
	res := Result{Object: r.object(q.Name), Rehearsed: s.Mode != Enforce}
	now, err := o.c.read(ctx, s, r, q.Name)
	if apierrors.IsNotFound(err) || err == nil && string(now.GetUID()) != q.UID {
		res.Note = "nothing to take back: the object is gone"
		return res, nil
	}
	if err != nil {
		return Result{}, err
	}
	patch, changed := undo(now.Object, q.Set, q.Former, "")
	if len(changed) > 0 {
		res.Note = fmt.Sprintf("left alone, because somebody has changed them since: %v", changed)
	}
	mark := s.Function.Annotation()
	ours := now.GetAnnotations()[mark] == effect
	if len(patch) == 0 && !ours {
		if res.Note == "" {
			res.Note = "nothing to take back: the former values stand already"
		}
		return res, nil
	}
	res.Before, res.After = mustJSON(former(now.Object, patch)), mustJSON(patch)
	object := cloneJSON(patch)
	if ours {
		annotate(object, mark, "")
		annotations(object)[mark] = nil
	}
	if metadata(object) == nil {
		object["metadata"] = map[string]any{}
	}
	metadata(object)["uid"], metadata(object)["resourceVersion"] = q.UID, now.GetResourceVersion()
	sctx, a, err := o.c.session(ctx, s)
	if err != nil {
		return Result{}, err
	}
	opts := metav1.PatchOptions{FieldManager: s.Function.FieldManager(), DryRun: dryRunOption(s)}
	got, err := a.on(r.gvr, r.ref.Namespace).Patch(sctx, q.Name, types.MergePatchType, mustJSON(object), opts, subresource(r)...)
	if err != nil {
		return Result{}, err
	}
	res.Response = response(got.Object, s.Mode != Enforce)
	return res, nil
}
