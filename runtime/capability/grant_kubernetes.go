package capability

import (
	"fmt"
	"slices"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// An access is one use of the Kubernetes API as RBAC sees it.
type access struct {
	verb, group, resource, subresource string
	namespace, name                    string // name is empty for list, and for create where the host names the object
}

func (a access) path() string {
	if a.subresource == "" {
		return a.resource
	}
	return a.resource + "/" + a.subresource
}

func (a access) String() string {
	s := a.verb + " " + a.path()
	if a.group != "" {
		s += "." + a.group
	}
	if a.namespace != "" || a.name != "" {
		s += " " + objectName(a.namespace, a.name)
	}
	return s
}

func objectName(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

// granted refuses what no grant of the function covers, and says which grant is missing.
func (g Grants) granted(a access) error {
	for _, k := range g.Kubernetes {
		if k.covers(a) {
			return nil
		}
	}
	missing := fmt.Sprintf("{apiGroups: [%q], resources: [%s], verbs: [%s]}", a.group, a.path(), a.verb)
	return denied("%s is not granted; the grant that is missing is kubernetes: %s", a, missing)
}

func (k KubernetesGrant) covers(a access) bool {
	return covers(k.APIGroups, a.group) && k.coversResource(a) && covers(k.Verbs, a.verb) &&
		(len(k.Namespaces) == 0 || slices.Contains(k.Namespaces, a.namespace)) &&
		(len(k.ResourceNames) == 0 || slices.Contains(k.ResourceNames, a.name))
}

// coversResource follows RBAC: "pods" does not cover "pods/eviction", "*" covers both, "*/scale" the subresource of every resource.
func (k KubernetesGrant) coversResource(a access) bool {
	return covers(k.Resources, a.path()) || a.subresource != "" && slices.Contains(k.Resources, "*/"+a.subresource)
}

func covers(list []string, s string) bool {
	return slices.Contains(list, s) || slices.Contains(list, "*")
}

// within refuses what lies outside the function's reach, whatever it was granted. For namespaced resources a.namespace is filled in
// already. What a write to an object that is not the target itself needs besides (an owner) is checked against the object.
func (s Scope) within(a access, namespaced bool) error {
	t := s.Target
	switch s.Grants.Reach {
	case ReachCluster:
		return nil
	case ReachTarget, ReachNamespace, "":
	default:
		return denied("reach %q is none of target, namespace, cluster", s.Grants.Reach)
	}
	reach := s.Grants.Reach
	if reach == "" {
		reach = ReachTarget
	}
	if !namespaced {
		own := a.group == "" && a.name != "" && (a.resource == "nodes" && a.name == t.Node || a.resource == "namespaces" && a.name == t.Namespace)
		if !own {
			return denied("%s is outside reach %s: of what has no namespace, only the event's own node %q and namespace %q are within", a, reach, t.Node, t.Namespace)
		}
		return nil
	}
	if t.Namespace == "" {
		return denied("%s is outside reach %s: the event names no namespace", a, reach)
	}
	if a.namespace != t.Namespace {
		return denied("%s is outside reach %s: the event's namespace is %q", a, reach, t.Namespace)
	}
	if reach == ReachTarget && a.isPod() && a.onTargetOnly() && a.name != t.Pod {
		return denied("%s is outside reach target: the event's pod is %q", a, t.Pod)
	}
	return nil
}

func (a access) isPod() bool { return a.group == "" && a.resource == "pods" }

// onTargetOnly reports whether reach target narrows the access to the one pod: writes, and subresources such as log. Creating a pod
// names a new one; there the owner decides.
func (a access) onTargetOnly() bool {
	if a.subresource != "" {
		return true
	}
	return a.verb == "patch" || a.verb == "delete"
}

// isTarget reports whether the access is to the event's own pod, node or namespace.
func (s Scope) isTarget(a access) bool {
	t := s.Target
	switch {
	case a.group != "" || a.name == "":
		return false
	case a.resource == "pods":
		return t.Pod != "" && a.name == t.Pod && a.namespace == t.Namespace
	case a.resource == "nodes":
		return a.name == t.Node
	case a.resource == "namespaces":
		return a.name == t.Namespace
	}
	return false
}

// writable refuses writes under reach target to objects that have nothing to do with the target: they must be the target itself, be
// owned by its pod, or have been written by this function before.
func (s Scope) writable(a access, object map[string]any) error {
	if s.Grants.Reach != ReachTarget && s.Grants.Reach != "" || s.isTarget(a) {
		return nil
	}
	if s.Target.PodUID != "" && ownedBy(object, s.Target.PodUID) {
		return nil
	}
	if _, ours := annotations(object)[s.Function.Annotation()]; ours && a.verb != "create" {
		return nil
	}
	if a.verb == "create" {
		return denied("%s is outside reach target: the object needs an ownerReference to the event's pod (uid %q)", a, s.Target.PodUID)
	}
	return denied("%s is outside reach target: the object is neither the event's own, nor owned by its pod, nor written by this function before", a)
}

// protect refuses writes to what an attacker would like a responder to break.
func (c *Cluster) protect(a access) error {
	for _, ns := range c.cfg.Protected {
		if a.namespace == ns || a.group == "" && a.resource == "namespaces" && a.name == ns {
			return denied("%s: namespace %q is protected", a, ns)
		}
	}
	return nil
}

var errNoTargetUID = abi.NewError(abi.CodeDenied, "the event does not say which pod by its UID: nothing is written for it within reach target or namespace")
