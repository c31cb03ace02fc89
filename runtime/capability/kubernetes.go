package capability

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// annotationPrefix begins the keys under which effects are marked; guests may not write there.
const annotationPrefix = "effect.tiercel.dev/"

// A resolved reference is authorised and complete: the namespace is filled in where the guest left it open.
type resolved struct {
	ref    abi.KubernetesRef
	access access
	gvr    schema.GroupVersionResource
	kind   string // of the object; empty with a subresource
}

func (r resolved) String() string { return r.access.String() }

// object is how results and errors name what was meant.
func (r resolved) object(name string) string {
	s := r.access.path()
	if r.access.group != "" {
		s += "." + r.access.group
	}
	return s + "/" + objectName(r.ref.Namespace, name)
}

// resolve checks a reference against grants, the cluster's resources and reach, in this order: what is not granted costs no request.
func (c *Cluster) resolve(ctx context.Context, s Scope, ref abi.KubernetesRef, verb string) (resolved, error) {
	gv, err := checkRef(ref)
	if err != nil {
		return resolved{}, err
	}
	r := resolved{ref: ref, gvr: gv.WithResource(ref.Resource)}
	r.access = access{verb: verb, group: gv.Group, resource: ref.Resource, subresource: ref.Subresource, namespace: ref.Namespace, name: ref.Name}
	if err := s.Grants.anywhere().granted(r.access); err != nil {
		return resolved{}, err
	}
	found, err := c.discovery.resource(ctx, gv, r.access.path())
	if err != nil {
		return resolved{}, err
	}
	r.kind = found.Kind
	switch {
	case !found.Namespaced && ref.Namespace != "":
		return resolved{}, invalid("%s have no namespace", ref.Resource)
	case found.Namespaced && ref.Namespace == "" && (verb != "list" || s.Grants.Reach != ReachCluster):
		r.ref.Namespace = s.Target.Namespace
		if r.ref.Namespace == "" {
			return resolved{}, invalid("%s: the request names no namespace, and neither does the event", r)
		}
		r.access.namespace = r.ref.Namespace
	}
	if err := s.Grants.granted(r.access); err != nil {
		return resolved{}, err
	}
	return r, s.within(r.access, found.Namespaced)
}

// anywhere is the grants without what narrows them to names and namespaces.
func (g Grants) anywhere() Grants {
	wide := make([]KubernetesGrant, len(g.Kubernetes))
	for i, k := range g.Kubernetes {
		k.Namespaces, k.ResourceNames = nil, nil
		wide[i] = k
	}
	return Grants{Kubernetes: wide}
}

// checkRef keeps anything but names out of the paths that are made of it.
func checkRef(ref abi.KubernetesRef) (schema.GroupVersion, error) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil || gv.Version == "" {
		return gv, invalid("apiVersion %q is not of the form v1 or group/v1", ref.APIVersion)
	}
	if ref.Resource == "" {
		return gv, invalid("resource is missing")
	}
	if ref.Resource != strings.ToLower(ref.Resource) {
		return gv, invalid("resource %q is not the lower-case plural, such as %q", ref.Resource, "pods")
	}
	for _, part := range []string{gv.Group, gv.Version, ref.Resource, ref.Subresource, ref.Namespace, ref.Name} {
		if problems := content.IsPathSegmentName(part); len(problems) > 0 {
			return gv, invalid("%q %s", part, problems[0])
		}
	}
	return gv, nil
}

// permit is resolve and the protection of namespaces. A write needs its target checked besides.
func (c *Cluster) permit(ctx context.Context, s Scope, ref abi.KubernetesRef, verb string) (resolved, error) {
	r, err := c.resolve(ctx, s, ref, verb)
	if err != nil {
		return r, err
	}
	return r, c.protect(r.access)
}

// forWrite is permit and checkTarget.
func (c *Cluster) forWrite(ctx context.Context, s Scope, ref abi.KubernetesRef, verb string) (resolved, error) {
	r, err := c.permit(ctx, s, ref, verb)
	if err != nil {
		return r, err
	}
	return r, c.checkTarget(ctx, s)
}

// located finds the resource of a canonical request again, without authorising it anew.
func located(ref abi.KubernetesRef, verb string) resolved {
	gv, _ := schema.ParseGroupVersion(ref.APIVersion)
	return resolved{ref: ref, gvr: gv.WithResource(ref.Resource), access: access{
		verb: verb, group: gv.Group, resource: ref.Resource, subresource: ref.Subresource, namespace: ref.Namespace, name: ref.Name,
	}}
}

// reauthorise is asked right before a write is sent: grants are always checked live, whatever was prepared before.
func (c *Cluster) reauthorise(ctx context.Context, s Scope, r resolved) error {
	if err := s.Grants.granted(r.access); err != nil {
		return err
	}
	if err := c.protect(r.access); err != nil {
		return err
	}
	return c.checkTarget(ctx, s)
}

// read gets the object under the function's identity.
func (c *Cluster) read(ctx context.Context, s Scope, r resolved, name string) (*unstructured.Unstructured, error) {
	ctx, a, err := c.session(ctx, s)
	if err != nil {
		return nil, err
	}
	var sub []string
	if r.ref.Subresource != "" && r.ref.Subresource != "eviction" {
		sub = []string{r.ref.Subresource}
	}
	return a.on(r.gvr, r.ref.Namespace).Get(ctx, name, metav1.GetOptions{}, sub...)
}

// parseObject reads a JSON object with numbers as the API machinery has them.
func parseObject(raw []byte, what string) (map[string]any, error) {
	var o map[string]any
	if err := utiljson.Unmarshal(raw, &o); err != nil {
		return nil, invalid("%s is not a JSON object: %v", what, err)
	}
	if o == nil {
		return nil, invalid("%s is missing", what)
	}
	return o, nil
}

func metadata(o map[string]any) map[string]any {
	m, _ := o["metadata"].(map[string]any)
	return m
}

func annotations(o map[string]any) map[string]any {
	a, _ := metadata(o)["annotations"].(map[string]any)
	return a
}

func annotate(o map[string]any, key, value string) {
	m := metadata(o)
	if m == nil {
		m = map[string]any{}
		o["metadata"] = m
	}
	a, _ := m["annotations"].(map[string]any)
	if a == nil {
		a = map[string]any{}
		m["annotations"] = a
	}
	a[key] = value
}

func text(o map[string]any, key string) string {
	s, _ := o[key].(string)
	return s
}

func ownedBy(o map[string]any, uid string) bool {
	owners, _ := metadata(o)["ownerReferences"].([]any)
	for _, owner := range owners {
		if m, ok := owner.(map[string]any); ok && text(m, "uid") == uid {
			return true
		}
	}
	return false
}

// refuseMarks refuses what a guest writes into annotations that are the host's.
func refuseMarks(o map[string]any) error {
	for k := range annotations(o) {
		if strings.HasPrefix(k, annotationPrefix) {
			return denied("annotation %q is written by the runtime only", k)
		}
	}
	return nil
}

// response makes an answer of an object, redacted.
func response(o map[string]any, dryRun bool) json.RawMessage {
	return mustJSON(struct {
		Object map[string]any `json:"object"`
		DryRun bool           `json:"dryRun,omitempty"`
	}{redactObject(o), dryRun})
}

func dryRunOption(s Scope) []string {
	if s.Mode == Enforce {
		return nil
	}
	return []string{metav1.DryRunAll}
}

func rehearsedNote(err error) string {
	return fmt.Sprintf("rehearsed on the object as read: %v", err)
}
