package tiercel

import (
	"unsafe"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// A Resource is a kind of Kubernetes resource, in a namespace if it is namespaced.
type Resource struct {
	APIVersion string // "v1", "apps/v1"
	Plural     string // "pods"
	Namespace  string
}

// Kubernetes returns a kind of resource, without a namespace: Kubernetes("apps/v1", "deployments").In("shop").
func Kubernetes(apiVersion, plural string) Resource {
	return Resource{APIVersion: apiVersion, Plural: plural}
}

// In returns the resource in a namespace.
func (r Resource) In(namespace string) Resource {
	r.Namespace = namespace
	return r
}

// A reference's keys stand among a request's others in their order: apiVersion, continue, fieldSelector, gracePeriodSeconds,
// labelSelector, limit, log, name, namespace, object, patch, propagation, resource, subresource, type, uid.
func (r Resource) begin() request { return newRequest().text("apiVersion", r.APIVersion) }

func (r Resource) named(q request, name string) request {
	return q.text("name", name).text("namespace", r.Namespace)
}

func (r Resource) kind(q request) request { return q.text("resource", r.Plural) }

// Get returns an object.
func (r Resource) Get(name string) (Value, error) {
	v, err := r.kind(r.named(r.begin(), name)).send(abi.OpKubernetesGet)
	return v.get("object"), err
}

// ListOptions narrows a list.
type ListOptions struct {
	LabelSelector string
	FieldSelector string
	Max           int // objects to return at most; 0: 1000
}

const listPage = 200

// List returns objects, and whether there are more than Max.
func (r Resource) List(o ListOptions) (items []Value, more bool, err error) {
	if o.Max == 0 {
		o.Max = 1000
	}
	next := ""
	for {
		q := r.begin().text("continue", next).text("fieldSelector", o.FieldSelector).text("labelSelector", o.LabelSelector)
		q = r.kind(r.named(q.number("limit", int64(min(o.Max-len(items), listPage))), ""))
		v, err := q.send(abi.OpKubernetesList)
		if err != nil {
			return items, false, err
		}
		for item := range v.get("items").Items() {
			items = append(items, item)
		}
		next = v.get("continue").String()
		if next == "" || len(items) >= o.Max {
			return items, next != "", nil
		}
	}
}

// Create creates an object. Without metadata.name the runtime gives it one (metadata.generateName is that name's prefix).
func (r Resource) Create(object Object) error {
	_, err := r.CreateObject(object)
	return err
}

// CreateObject is Create and returns the object as it was created.
func (r Resource) CreateObject(object Object) (Value, error) {
	v, err := r.kind(r.named(r.begin(), "").value("object", object)).send(abi.OpKubernetesCreate)
	return v.get("object"), err
}

// Patch types; [Resource.Patch] merges.
const (
	PatchMerge     = abi.PatchMerge
	PatchJSON      = abi.PatchJSON
	PatchStrategic = abi.PatchStrategic
	PatchApply     = abi.PatchApply
)

// Patch merges a patch into the object of that name and returns the object. uid, unless empty, must be the object's.
func (r Resource) Patch(name, uid string, patch Object) (Value, error) {
	return r.PatchAs(PatchMerge, name, uid, patch)
}

// PatchAs is Patch with a type of patch; for PatchJSON, patch is a List of operations, each add, remove or replace.
func (r Resource) PatchAs(t abi.PatchType, name, uid string, patch any) (Value, error) {
	if t == PatchMerge {
		t = ""
	}
	q := r.kind(r.named(r.begin(), name).value("patch", patch))
	v, err := q.text("type", string(t)).text("uid", uid).send(abi.OpKubernetesPatch)
	return v.get("object"), err
}

// DeleteOptions says how to delete.
type DeleteOptions struct {
	GraceSeconds *int64 // nil: the object's own
	Propagation  string // Background, Foreground, Orphan; default: the resource's
}

// Delete deletes the object of that name and UID.
func (r Resource) Delete(name, uid string, o DeleteOptions) error {
	q := r.begin()
	if o.GraceSeconds != nil {
		q = q.number("gracePeriodSeconds", *o.GraceSeconds)
	}
	q = r.kind(r.named(q, name).text("propagation", o.Propagation))
	_, err := q.key("uid").appendText(uid).send(abi.OpKubernetesDelete)
	return err
}

// A Namespace is a Kubernetes namespace.
type Namespace string

// Pods returns the namespace's pods.
func (n Namespace) Pods() Resource { return Kubernetes("v1", "pods").In(string(n)) }

// NetworkPolicies returns the namespace's network policies.
func (n Namespace) NetworkPolicies() Resource {
	return Kubernetes("networking.k8s.io/v1", "networkpolicies").In(string(n))
}

// Resource returns any of the namespace's resources.
func (n Namespace) Resource(apiVersion, plural string) Resource {
	return Kubernetes(apiVersion, plural).In(string(n))
}

// ErrNoPod is the error of everything asked of the pod of an event that has none. Returned from the handler it ends the
// invocation as skipped.
var ErrNoPod = Skip("the event is not about a pod, or its pod was not known")

// A Pod is the one pod with a name and a UID. Every write to it is refused if the name has come to belong to another.
type Pod struct {
	namespace, name, uid string
}

// Pod returns the event's pod. Where the event has none, everything asked of it is ErrNoPod.
func (t Target) Pod() Pod {
	if t.Namespace == "" || t.PodName == "" || t.PodUID == "" {
		return Pod{}
	}
	return Pod{t.Namespace, t.PodName, t.PodUID}
}

// Exists reports whether there is a pod to act on.
func (p Pod) Exists() bool { return p.uid != "" }

// Name returns the pod's name.
func (p Pod) Name() string { return p.name }

// UID returns the pod's UID.
func (p Pod) UID() string { return p.uid }

// Namespace returns the pod's namespace.
func (p Pod) Namespace() Namespace { return Namespace(p.namespace) }

// Get returns the pod's object. If the name has come to belong to another pod, the error's code is CodeNotFound.
func (p Pod) Get() (Value, error) {
	if !p.Exists() {
		return Value{}, ErrNoPod
	}
	v, err := p.Namespace().Pods().Get(p.name)
	if err != nil {
		return Value{}, err
	}
	if v.Get("metadata", "uid").String() != p.uid {
		return Value{}, &Error{Code: CodeNotFound, Text: "pod " + p.namespace + "/" + p.name + " is another one now"}
	}
	return v, nil
}

// Label sets a label. value must be a label's: see [LabelValue].
func (p Pod) Label(key, value string) error { return p.set("labels", key, value) }

// Annotate sets an annotation.
func (p Pod) Annotate(key, value string) error { return p.set("annotations", key, value) }

func (p Pod) set(what, key, value string) error {
	if !p.Exists() {
		return ErrNoPod
	}
	q := p.beginPatch().open().key("metadata").open().key(what).open().appendText(key)
	q = append(append(q, ':').appendText(value), "}}}"...)
	return p.sendPatch(q)
}

// Patch merges a patch into the pod.
func (p Pod) Patch(patch Object) error {
	if !p.Exists() {
		return ErrNoPod
	}
	_, err := p.Namespace().Pods().Patch(p.name, p.uid, patch)
	return err
}

// beginPatch begins a request that sendPatch sends: what is between them is the patch.
func (p Pod) beginPatch() request {
	r := p.Namespace().Pods()
	return r.named(r.begin(), p.name).key("patch")
}

func (p Pod) sendPatch(q request) error {
	_, err := p.Namespace().Pods().kind(q).text("uid", p.uid).send(abi.OpKubernetesPatch)
	return err
}

// Delete deletes the pod.
func (p Pod) Delete(o DeleteOptions) error {
	if !p.Exists() {
		return ErrNoPod
	}
	return p.Namespace().Pods().Delete(p.name, p.uid, o)
}

// SkipIfGone makes an error of an operation on the pod one that ends the invocation as skipped, if it says that the pod is no longer
// there. A conflict may also be a change by somebody else at the same time: then the error asks for a fresh attempt.
func (p Pod) SkipIfGone(err error) error {
	switch CodeOf(err) {
	case CodeConflict:
		if _, getErr := p.Get(); CodeOf(getErr) != CodeNotFound {
			return Retry(err)
		}
	case CodeNotFound:
	default:
		return err
	}
	return Skip("the pod is gone: " + err.Error())
}

// Evict asks for the pod's eviction, which disruption budgets may refuse. graceSeconds may be nil: the pod's own.
func (p Pod) Evict(graceSeconds *int64) error {
	if !p.Exists() {
		return ErrNoPod
	}
	options := Object{"preconditions": Object{"uid": p.uid}}
	if graceSeconds != nil {
		options["gracePeriodSeconds"] = *graceSeconds
	}
	pods := p.Namespace().Pods()
	q := pods.named(pods.begin(), p.name).value("object", Object{"apiVersion": "policy/v1", "kind": "Eviction", "deleteOptions": options})
	_, err := pods.kind(q).text("subresource", "eviction").send(abi.OpKubernetesCreate)
	return err
}

// Logs returns the last lines of a container's log. container may be empty if there is only one.
func (p Pod) Logs(container string, tailLines int64) (string, error) {
	if !p.Exists() {
		return "", ErrNoPod
	}
	options := Object{"tailLines": tailLines}
	if container != "" {
		options["container"] = container
	}
	pods := p.Namespace().Pods()
	q := pods.kind(pods.named(pods.begin().value("log", options), p.name)).text("subresource", "log")
	v, err := q.send(abi.OpKubernetesGet)
	return v.get("text").String(), err
}

// Owner returns the pod as an entry of metadata.ownerReferences: what has it as its owner is deleted with it.
func (p Pod) Owner() Object {
	return Object{"apiVersion": "v1", "kind": "Pod", "name": p.name, "uid": p.uid}
}

const maxLabel = 63

// LabelValue makes a label's value of any text: what may not be in one becomes "_", it is cut to 63 characters, and begins and
// ends with a letter or digit.
func LabelValue(s string) string {
	b := alloc(min(len(s), maxLabel))
	from, to := len(b), 0 // the first letter or digit, and behind the last
	for i := range b {
		c := s[i]
		switch {
		case alphanumeric(c):
			from, to = min(from, i), i+1
		case c != '-' && c != '_' && c != '.':
			c = '_'
		}
		b[i] = c
	}
	if from >= to {
		return ""
	}
	return unsafe.String(&b[from], to-from)
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
