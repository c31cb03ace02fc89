package abi

// A KubernetesRef names a kind of resource or one object of it, as paths of the API do.
type KubernetesRef struct {
	APIVersion  string `json:"apiVersion"`            // "v1", "apps/v1", "networking.k8s.io/v1"
	Resource    string `json:"resource"`              // plural, lower case: "pods"
	Subresource string `json:"subresource,omitempty"` // "eviction", "log", "status", "scale"
	Namespace   string `json:"namespace,omitempty"`   // empty for what has no namespace
	Name        string `json:"name,omitempty"`
}

// KubernetesGet is the request of kubernetes.get. With subresource "log" of pods the response is a [KubernetesLog] and Log may say
// which part; otherwise it is a [KubernetesObject]. Managed fields are left out of every object in a response.
type KubernetesGet struct {
	KubernetesRef
	Log *KubernetesLogOptions `json:"log,omitempty"`
}

// KubernetesLogOptions says which part of a container's log to read.
type KubernetesLogOptions struct {
	Container    string `json:"container,omitempty"` // default: the only one
	Previous     bool   `json:"previous,omitempty"`
	TailLines    int64  `json:"tailLines,omitempty"`    // 0: no limit but the response's
	SinceSeconds int64  `json:"sinceSeconds,omitempty"` // 0: from its start
}

// KubernetesList is the request of kubernetes.list. Name and Subresource are empty. With reach target the host refuses other
// namespaces than the target's.
type KubernetesList struct {
	KubernetesRef
	LabelSelector string `json:"labelSelector,omitempty"`
	FieldSelector string `json:"fieldSelector,omitempty"`
	Limit         int64  `json:"limit,omitempty"`    // objects in one response: 1 to 500, default 100
	Continue      string `json:"continue,omitempty"` // from the response before
}

// KubernetesCreate is the request of kubernetes.create. Object's apiVersion and kind are its own; its metadata's namespace and name must
// agree with the reference if both are given. Without a name the host gives one made from the effect's id, so that a repeated create
// meets its own object and answers it; metadata.generateName, if given, is that name's prefix. With subresource "eviction" of
// pods, Object is a policy/v1 Eviction (metadata may be left out), and UID of its deleteOptions' preconditions is required.
type KubernetesCreate struct {
	KubernetesRef
	Object Raw `json:"object"`
}

// A PatchType says how a patch is meant.
type PatchType string

// Patch types.
const (
	PatchMerge     PatchType = "merge"     // RFC 7396; the default
	PatchJSON      PatchType = "json"      // RFC 6902, of which add, remove and replace: the others read the object, past redaction
	PatchStrategic PatchType = "strategic" // of built-in kinds
	PatchApply     PatchType = "apply"     // server-side apply, never forced
)

// KubernetesPatch is the request of kubernetes.patch. The host sends UID and resourceVersion as preconditions: those given, otherwise
// those it reads right before; a given one that does not hold is CodeConflict. A guest that acts on an event's pod gives the UID.
type KubernetesPatch struct {
	KubernetesRef
	Type            PatchType `json:"type,omitempty"`
	Patch           Raw       `json:"patch"` // an object; an array for json
	UID             string    `json:"uid,omitempty"`
	ResourceVersion string    `json:"resourceVersion,omitempty"`
}

// KubernetesDelete is the request of kubernetes.delete. UID is required: nothing is deleted by its name alone. An object that
// is gone, or whose name now belongs to another UID, is CodeNotFound at the first attempt and success at a repeated one.
type KubernetesDelete struct {
	KubernetesRef
	UID                string `json:"uid"`
	ResourceVersion    string `json:"resourceVersion,omitempty"`
	GracePeriodSeconds *int64 `json:"gracePeriodSeconds,omitempty"` // default: the object's
	Propagation        string `json:"propagation,omitempty"`        // Background, Foreground, Orphan; default: the resource's
}

// A KubernetesObject is the response of get, create and patch.
type KubernetesObject struct {
	Object Raw  `json:"object"`
	DryRun bool `json:"dryRun,omitempty"` // a write that was rehearsed, not done
}

// KubernetesItems is the response of kubernetes.list.
type KubernetesItems struct {
	Items           []Raw  `json:"items"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	Continue        string `json:"continue,omitempty"` // not empty: there is more
}

// KubernetesDeleted is the response of kubernetes.delete.
type KubernetesDeleted struct {
	UID    string `json:"uid"`
	DryRun bool   `json:"dryRun,omitempty"`
}

// KubernetesLog is the response of kubernetes.get of pods/log.
type KubernetesLog struct {
	Text      string `json:"text"`                // invalid UTF-8 replaced
	Truncated bool   `json:"truncated,omitempty"` // the newest part of what was asked for
}
