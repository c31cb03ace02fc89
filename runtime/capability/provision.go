package capability

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ServiceAccount is the name of the function's ServiceAccount. Names may have dots, so other tenants' carry the hash that tells
// "a.b" of tenant c from "b" of tenant c.a.
func (f Function) ServiceAccount() string {
	if f.Tenant == "" || f.Tenant == "default" {
		return f.Name
	}
	return f.Tenant + "." + f.Name + "." + f.Hash()
}

const provisioner = "tiercel-provision" // field manager of what Provision applies

// Manifests returns what a cluster must hold for a function to act under its own ServiceAccount with exactly its grants: the namespace,
// the account, and roles with bindings. Grants with namespaces become Roles there, others a ClusterRole. Each write brings "get" with
// it, since the host reads what it is about to change, and "create" brings "delete", to take it back.
func Manifests(namespace string, f Function, g Grants) []*unstructured.Unstructured {
	account := f.ServiceAccount()
	out := []*unstructured.Unstructured{
		manifest("v1", "Namespace", "", namespace, f, nil),
		manifest("v1", "ServiceAccount", namespace, account, f, map[string]any{"automountServiceAccountToken": false}),
	}
	name := "tiercel:" + account
	subjects := []any{map[string]any{"kind": "ServiceAccount", "name": account, "namespace": namespace}}
	const group = "rbac.authorization.k8s.io"
	byNamespace := rulesByNamespace(g)
	for _, ns := range slices.Sorted(maps.Keys(byNamespace)) {
		role, binding := "Role", "RoleBinding"
		if ns == "" {
			role, binding = "ClusterRole", "ClusterRoleBinding"
		}
		ref := map[string]any{"apiGroup": group, "kind": role, "name": name}
		out = append(out, manifest(group+"/v1", role, ns, name, f, map[string]any{"rules": byNamespace[ns]}),
			manifest(group+"/v1", binding, ns, name, f, map[string]any{"roleRef": ref, "subjects": subjects}))
	}
	return out
}

func manifest(apiVersion, kind, namespace, name string, f Function, body map[string]any) *unstructured.Unstructured {
	meta := map[string]any{"name": name, "labels": map[string]any{"app.kubernetes.io/managed-by": "tiercel"}}
	if namespace != "" {
		meta["namespace"] = namespace
	}
	if kind != "Namespace" {
		meta["labels"].(map[string]any)["tiercel.dev/function"] = f.Hash()
	}
	o := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": meta}
	maps.Copy(o, body)
	return &unstructured.Unstructured{Object: o}
}

func rulesByNamespace(g Grants) map[string][]any {
	rules := map[string][]any{"": {}} // an empty ClusterRole takes back what an earlier revision was granted
	add := func(namespaces []string, more []any) {
		if len(namespaces) == 0 {
			namespaces = []string{""}
		}
		for _, ns := range namespaces {
			rules[ns] = append(rules[ns], more...)
		}
	}
	for _, k := range g.Kubernetes {
		add(k.Namespaces, policyRules(k))
	}
	for _, e := range g.Exec {
		add(e.Namespaces, execRules())
	}
	return rules
}

// execRules are what a command needs: the host reads the pod before, and a WebSocket begins as a GET, for which the API server asks for both.
func execRules() []any {
	rule := func(resource string, verbs ...any) any {
		return map[string]any{"apiGroups": []any{""}, "resources": []any{resource}, "verbs": verbs}
	}
	return []any{rule("pods/exec", "create", "get"), rule("pods", "get")}
}

// policyRules splits a grant with resource names: RBAC cannot narrow create and list by name, and would refuse them altogether.
func policyRules(k KubernetesGrant) []any {
	verbs := slices.Clone(k.Verbs)
	if slices.ContainsFunc(verbs, func(v string) bool { return v == "create" || v == "patch" || v == "delete" }) {
		verbs = append(verbs, "get")
	}
	if slices.Contains(verbs, "create") {
		verbs = append(verbs, "delete")
	}
	slices.Sort(verbs)
	verbs = slices.Compact(verbs)
	rule := func(verbs, names []string) any {
		r := map[string]any{"apiGroups": list(k.APIGroups), "resources": list(k.Resources), "verbs": list(verbs)}
		if len(names) > 0 {
			r["resourceNames"] = list(names)
		}
		return r
	}
	if len(k.ResourceNames) == 0 {
		return []any{rule(verbs, nil)}
	}
	var named, unnamed []string
	for _, v := range verbs {
		if v == "create" || v == "list" {
			unnamed = append(unnamed, v)
		} else {
			named = append(named, v)
		}
	}
	rules := []any{rule(named, k.ResourceNames)}
	if len(unnamed) > 0 {
		rules = append(rules, rule(unnamed, nil))
	}
	return rules
}

func list(s []string) []any {
	l := make([]any, len(s))
	for i, v := range s {
		l[i] = v
	}
	return l
}

var resourceOf = map[string]schema.GroupVersionResource{
	"Namespace":          {Version: "v1", Resource: "namespaces"},
	"ServiceAccount":     serviceAccounts,
	"Role":               {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	"RoleBinding":        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	"ClusterRole":        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
	"ClusterRoleBinding": {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
}

// Provision applies a function's Manifests, if the runtime's own credentials may: an administrator's kubeconfig may, a pod that
// was given the least it needs may not and finds them applied by whoever installed it. A refusal is therefore logged and no error; what
// is missing then shows when the function acts. Errors are TransientErrors or *abi.Errors that name the object. What this process
// has applied once it does not apply again.
func (c *Cluster) Provision(ctx context.Context, f Function, g Grants) error {
	want := string(mustJSON(g))
	if c.provisioned(f).grants == want {
		return nil
	}
	var refused []string
	for _, m := range Manifests(c.cfg.Namespace, f, g) {
		err := c.apply(ctx, m)
		if apierrors.IsForbidden(err) {
			refused = append(refused, m.GetKind()+" "+m.GetName())
			continue
		}
		if err != nil {
			return kubeError(fmt.Sprintf("apply %s %s", m.GetKind(), m.GetName()), err)
		}
	}
	c.setProvisioned(f, provision{want, c.now()})
	if len(refused) > 0 {
		c.cfg.Logger.Warn("may not set up the function's rights: they must be there already", "function", f.Name, "objects", strings.Join(refused, ", "))
	}
	return nil
}

// settling is how long the API server's authorizer may take to see roles that were applied.
const settling = 5 * time.Second

type provision struct {
	grants string
	at     time.Time
}

func (c *Cluster) provisioned(f Function) provision {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.provisions[f]
}

func (c *Cluster) setProvisioned(f Function, p provision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.provisions) >= maxActors || c.provisions == nil {
		c.provisions = map[Function]provision{}
	}
	c.provisions[f] = p
}

// failure is kubeError, but for refusals that come only because the function's roles are seconds old.
func (c *Cluster) failure(s Scope, doing string, err error) error {
	if apierrors.IsForbidden(err) && c.now().Sub(c.provisioned(s.Function).at) < settling {
		return &TransientError{Err: fmt.Errorf("%s: %w", doing, err), After: 200 * time.Millisecond}
	}
	return kubeError(doing, err)
}

// Deprovision removes the account and cluster-wide roles of a deleted function.
func (c *Cluster) Deprovision(ctx context.Context, f Function, g Grants) error {
	c.setProvisioned(f, provision{})
	var errs []error
	all := Manifests(c.cfg.Namespace, f, g)
	for _, m := range slices.Backward(all[1:]) { // the namespace stays
		err := c.own.on(resourceOf[m.GetKind()], m.GetNamespace()).Delete(ctx, m.GetName(), metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, kubeError(fmt.Sprintf("delete %s %s", m.GetKind(), m.GetName()), err))
		}
	}
	return errors.Join(errs...)
}

func (c *Cluster) apply(ctx context.Context, m *unstructured.Unstructured) error {
	on := c.own.on(resourceOf[m.GetKind()], m.GetNamespace())
	if m.GetKind() == "Namespace" { // it may be somebody else's: made if it is not there, never changed
		_, err := on.Get(ctx, m.GetName(), metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return err
		}
	}
	_, err := on.Apply(ctx, m.GetName(), m, metav1.ApplyOptions{FieldManager: provisioner, Force: true})
	return err
}
