package capability

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// createOp is kubernetes.create. The eviction of a pod, which the API makes a create, is evictOp's.
type createOp struct{ c *Cluster }

// createCall is the canonical form of a create. Name is empty where it is made from the effect id, with Prefix before it.
type createCall struct {
	abi.KubernetesRef
	Prefix string          `json:"prefix,omitempty"`
	Object json.RawMessage `json:"object"`
}

func (q createCall) name(effect string) string {
	if q.Name != "" {
		return q.Name
	}
	return q.Prefix + effectName(effect)
}

// effectName is 13 letters and digits that stand for the effect: a repeated create meets the object of the first one.
func effectName(effect string) string {
	sum := sha256.Sum256([]byte(effect))
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:8]))
}

// Prepare authorises the create and fills in namespace and name.
func (o *createOp) Prepare(ctx context.Context, s Scope, request []byte) (*Prepared, error) {
	var q abi.KubernetesCreate
	if err := decode(request, &q); err != nil {
		return nil, err
	}
	switch q.Subresource {
	case "":
	case "eviction":
		return o.prepareEviction(ctx, s, q)
	default:
		return nil, abiErrorf(abi.CodeUnsupported, "create of subresource %q: only eviction can be", q.Subresource)
	}
	object, err := parseObject(q.Object, "object")
	if err != nil {
		return nil, err
	}
	call := createCall{KubernetesRef: q.KubernetesRef}
	if err := call.takeMetadata(object); err != nil {
		return nil, err
	}
	r, err := o.c.forWrite(ctx, s, call.KubernetesRef, "create")
	if err != nil {
		return nil, err
	}
	if v, k := text(object, "apiVersion"), text(object, "kind"); v != q.APIVersion || k != r.kind {
		return nil, invalid("the object is %s %s; %s in %s are %s", v, k, q.Resource, q.APIVersion, r.kind)
	}
	if err := s.writable(r.access, object); err != nil {
		return nil, err
	}
	call.KubernetesRef, call.Object = r.ref, mustJSON(object)
	back := createdInverse{KubernetesRef: r.ref, Prefix: call.Prefix}
	return &Prepared{
		Write: true, Class: Conditional, Canonical: mustJSON(call), Summary: r.String(),
		Inverse: &Inverse{Op: abi.OpKubernetesDelete, Request: mustJSON(back), Summary: "delete " + r.object(call.shown())},
	}, nil
}

func (q createCall) shown() string {
	if q.Name != "" {
		return q.Name
	}
	return q.Prefix + "…"
}

// takeMetadata settles name and namespace between reference and object, and takes them out of the object.
func (q *createCall) takeMetadata(object map[string]any) error {
	if err := refuseMarks(object); err != nil {
		return err
	}
	meta := metadata(object)
	for key, ref := range map[string]*string{"name": &q.Name, "namespace": &q.Namespace} {
		v := text(meta, key)
		if v != "" && *ref != "" && v != *ref {
			return invalid("metadata.%s is %q, the request says %q", key, v, *ref)
		}
		if *ref == "" {
			*ref = v
		}
		delete(meta, key)
	}
	if q.Prefix = text(meta, "generateName"); q.Prefix == "" {
		q.Prefix = "tiercel-"
	}
	if q.Prefix = q.Prefix[:min(len(q.Prefix), 49)]; q.Name != "" { // a DNS label with the 13 characters that follow
		q.Prefix = ""
	}
	delete(meta, "generateName")
	for _, key := range []string{"uid", "resourceVersion", "managedFields", "creationTimestamp", "generation", "selfLink"} {
		delete(meta, key)
	}
	return nil
}

// Execute creates the object, marked with the effect. An object of that name with that mark is the effect of an earlier attempt.
func (o *createOp) Execute(ctx context.Context, s Scope, p *Prepared, effect string) (Result, error) {
	var q createCall
	if err := recall(p.Canonical, &q); err != nil {
		return Result{}, err
	}
	r := located(q.KubernetesRef, "create")
	if err := o.c.reauthorise(ctx, s, r); err != nil {
		return Result{}, err
	}
	if q.Subresource == "eviction" {
		return o.evict(ctx, s, r, p)
	}
	object, err := parseObject(q.Object, "object")
	if err != nil {
		return Result{}, err
	}
	u := &unstructured.Unstructured{Object: object}
	u.SetName(q.name(effect))
	u.SetNamespace(q.Namespace)
	annotate(object, s.Function.Annotation(), effect)
	sctx, a, err := o.c.session(ctx, s)
	if err != nil {
		return Result{}, err
	}
	got, err := a.on(r.gvr, q.Namespace).Create(sctx, u, metav1.CreateOptions{FieldManager: s.Function.FieldManager(), DryRun: dryRunOption(s)})
	switch {
	case err == nil:
		return created(s, r, q, got, effect), nil
	case apierrors.IsAlreadyExists(err):
		if done, res, lookErr := o.Look(ctx, s, p, effect); lookErr != nil || done {
			return res, lookErr
		}
	case s.Mode != Enforce && apierrors.IsForbidden(err):
		if _, settling := errors.AsType[*TransientError](o.c.failure(s, r.String(), err)); !settling {
			res := created(s, r, q, u, effect)
			res.Note = rehearsedNote(err)
			return res, nil
		}
	}
	return Result{}, o.c.failure(s, r.String(), err)
}

func created(s Scope, r resolved, q createCall, got *unstructured.Unstructured, effect string) Result {
	dry := s.Mode != Enforce
	name := q.name(effect)
	res := Result{Response: response(got.Object, dry), Object: r.object(name), Rehearsed: dry}
	res.After = mustJSON(got.Object) // redacted by response
	if !dry {
		back := createdInverse{KubernetesRef: q.KubernetesRef, UID: string(got.GetUID())}
		back.Name = name
		res.Inverse = &Inverse{Op: abi.OpKubernetesDelete, Request: mustJSON(back), Summary: "delete " + r.object(name)}
	}
	return res
}

// Look finds the object by name and mark.
func (o *createOp) Look(ctx context.Context, s Scope, p *Prepared, effect string) (bool, Result, error) {
	var q createCall
	if err := recall(p.Canonical, &q); err != nil {
		return false, Result{}, err
	}
	r := located(q.KubernetesRef, "create")
	if q.Subresource == "eviction" {
		return o.lookEvicted(ctx, s, r, p)
	}
	got, err := o.c.read(ctx, s, r, q.name(effect))
	if apierrors.IsNotFound(err) {
		return false, Result{}, nil
	}
	if err != nil {
		return false, Result{}, o.c.failure(s, "look for "+r.object(q.name(effect)), err)
	}
	if got.GetAnnotations()[s.Function.Annotation()] != effect {
		return false, Result{}, nil
	}
	enforced := s
	enforced.Mode = Enforce // it is there: no rehearsal
	res := created(enforced, r, q, got, effect)
	res.Note = "found done by an earlier attempt"
	return true, res, nil
}
