//go:build kube

package capability

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/test/kubetest"
)

// cluster is shared by the tests of this package; each works in a namespace of its own.
var cluster *kubetest.Cluster

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
rules: [{level: Metadata, omitStages: [RequestReceived]}]
`

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "capability")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	policy := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		panic(err)
	}
	cluster, err = kubetest.Run(dir, "--audit-policy-file="+policy, "--audit-log-path="+filepath.Join(dir, "audit.log"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer cluster.Kill()
	return m.Run()
}

var policies = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}

// isolating are the grants of a function that isolates a pod.
var isolating = Grants{Kubernetes: []KubernetesGrant{
	{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "patch"}},
	{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"}, Verbs: []string{"get", "create", "delete"}},
}}

// A bench is a namespace with a pod, and a function that is set up to act on it.
type bench struct {
	*Registry
	c     *Cluster
	scope Scope
}

var benches atomic.Int64 // -count runs a test again

func setUp(t *testing.T, g Grants) bench {
	t.Helper()
	c, err := Connect(ClusterConfig{Kubeconfig: cluster.Kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{Cluster: c})
	if err != nil {
		t.Fatal(err)
	}
	name := strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(t.Name(), "/", "-"), "_", "-"))
	ns := fmt.Sprintf("%s-%d", name[:min(len(name), 55)], benches.Add(1))
	mustCreate(t, c, schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, "", `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "`+ns+`"}}`)
	mustCreate(t, c, serviceAccounts, ns, `{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}`)
	b := bench{Registry: r, c: c}
	b.scope = Scope{
		Function: Function{Name: ns, UID: "uid-" + ns}, Grants: g, Mode: Enforce,
		Invocation: "inv-" + ns, Event: "node-a-01J", Depth: 1, Root: "node-a-01J",
		Target: bus.Target{Node: "node-a", Namespace: ns, Pod: "web-1"},
	}
	b.scope.Target.PodUID = string(b.pod(t, "web-1", "node-a").GetUID())
	if err := c.Provision(t.Context(), b.scope.Function, g); err != nil {
		t.Fatal(err)
	}
	b.settled(t)
	return b
}

// settled waits until the API server's authorizer has seen the function's roles.
func (b bench) settled(t *testing.T) {
	t.Helper()
	_, a, err := b.c.session(t.Context(), b.scope)
	if err != nil {
		t.Fatal(err)
	}
	kubetest.Eventually(t, time.Minute, "the function may read its pod", func() bool {
		_, err = a.on(pods, b.scope.Target.Namespace).Get(t.Context(), "web-1", metav1.GetOptions{})
		return err == nil
	})
	b.c.setProvisioned(b.scope.Function, provision{}) // from now on, forbidden means forbidden
}

func (b bench) pod(t *testing.T, name, node string) *unstructured.Unstructured {
	t.Helper()
	return mustCreate(t, b.c, pods, b.scope.Target.Namespace, `{"apiVersion": "v1", "kind": "Pod",
		"metadata": {"name": "`+name+`", "labels": {"app": "web"}},
		"spec": {"nodeName": "`+node+`", "containers": [{"name": "c", "image": "web", "env": [{"name": "TOKEN", "value": "s3cret"}]}]}}`)
}

func mustCreate(t *testing.T, c *Cluster, gvr schema.GroupVersionResource, ns, object string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(object), &u.Object); err != nil {
		t.Fatal(err)
	}
	got, err := c.own.on(gvr, ns).Create(t.Context(), u, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// fetch reads an object as the administrator; nil if it is not there.
func (b bench) fetch(t *testing.T, gvr schema.GroupVersionResource, name string) *unstructured.Unstructured {
	t.Helper()
	u, err := b.c.own.on(gvr, b.scope.Target.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		if kubeCode(err) == abi.CodeNotFound {
			return nil
		}
		t.Fatal(err)
	}
	return u
}

// asOther changes an object behind the function's back.
func (b bench) asOther(t *testing.T, gvr schema.GroupVersionResource, name, merge string) {
	t.Helper()
	_, err := b.c.own.on(gvr, b.scope.Target.Namespace).Patch(t.Context(), name, types.MergePatchType, []byte(merge), metav1.PatchOptions{FieldManager: "somebody"})
	if err != nil {
		t.Fatal(err)
	}
}

func (b bench) mustPrepare(t *testing.T, op string, request any) *Prepared {
	t.Helper()
	p, err := b.Prepare(t.Context(), b.scope, op, mustJSON(request))
	if err != nil {
		t.Fatalf("prepare %s: %v", op, err)
	}
	var again Prepared // as the journal hands it back
	if err := json.Unmarshal(mustJSON(p), &again); err != nil {
		t.Fatal(err)
	}
	return &again
}

func (b bench) mustExecute(t *testing.T, p *Prepared, effect string) Result {
	t.Helper()
	r, err := b.Execute(t.Context(), b.scope, p, effect)
	if err != nil {
		t.Fatalf("execute %s: %v", p.Summary, err)
	}
	return r
}

func (b bench) mustRevert(t *testing.T, i *Inverse, effect string) Result {
	t.Helper()
	r, err := b.Revert(t.Context(), b.scope, i, effect)
	if err != nil {
		t.Fatalf("revert: %v", err)
	}
	return r
}

func wantCode(t *testing.T, err error, code abi.Code) {
	t.Helper()
	if e, ok := errors.AsType[*abi.Error](err); !ok || e.Code != code {
		t.Fatalf("got error %v, want code %s", err, code)
	}
}

func ref(version, resource, name string) abi.KubernetesRef {
	return abi.KubernetesRef{APIVersion: version, Resource: resource, Name: name}
}

func (b bench) denyAll() abi.KubernetesCreate {
	t := b.scope.Target
	return abi.KubernetesCreate{KubernetesRef: ref("networking.k8s.io/v1", "networkpolicies", ""), Object: abi.Raw(fmt.Sprintf(`{
		"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
		"metadata": {"generateName": "tiercel-isolate-", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": %q, "uid": %q}]},
		"spec": {"podSelector": {"matchLabels": {"tiercel.dev/quarantine": "x"}}, "policyTypes": ["Ingress", "Egress"]}}`, t.Pod, t.PodUID))}
}

func (b bench) label(value string) abi.KubernetesPatch {
	return abi.KubernetesPatch{
		KubernetesRef: ref("v1", "pods", b.scope.Target.Pod), UID: b.scope.Target.PodUID,
		Patch: abi.Raw(`{"metadata": {"labels": {"tiercel.dev/quarantine": ` + value + `}}}`),
	}
}

func TestCreateOnce(t *testing.T) {
	b := setUp(t, isolating)
	p := b.mustPrepare(t, abi.OpKubernetesCreate, b.denyAll())
	if done, _, err := b.Look(t.Context(), b.scope, p, "e1"); done || err != nil {
		t.Fatalf("look before the create: %v, %v", done, err)
	}
	first := b.mustExecute(t, p, "e1")
	again := b.mustExecute(t, p, "e1")
	name := "tiercel-isolate-" + effectName("e1")
	got := b.fetch(t, policies, name)
	if got == nil {
		t.Fatalf("there is no policy %s", name)
	}
	if diff := cmp.Diff(first.Object, again.Object); diff != "" || again.Note == "" {
		t.Errorf("the repetition is not recognised (note %q):\n%s", again.Note, diff)
	}
	list, err := b.c.own.on(policies, b.scope.Target.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("%d policies, want 1 (%v)", len(list.Items), err)
	}
	if got.GetAnnotations()[b.scope.Function.Annotation()] != "e1" {
		t.Errorf("annotations %v do not hold the effect", got.GetAnnotations())
	}
	if m := got.GetManagedFields(); len(m) != 1 || m[0].Manager != b.scope.Function.FieldManager() {
		t.Errorf("managed fields %v", m)
	}
	if done, res, err := b.Look(t.Context(), b.scope, p, "e1"); !done || err != nil || res.Inverse == nil {
		t.Errorf("look after the create: %v, %v", done, err)
	}
	if done, _, err := b.Look(t.Context(), b.scope, p, "e2"); done || err != nil {
		t.Errorf("look for another effect: %v, %v", done, err)
	}
}

func TestRevertCreate(t *testing.T) {
	b := setUp(t, isolating)
	p := b.mustPrepare(t, abi.OpKubernetesCreate, b.denyAll())
	if r := b.mustRevert(t, p.Inverse, "e1"); !strings.Contains(r.Note, "nothing to take back") {
		t.Errorf("note %q for an effect that never happened", r.Note)
	}
	res := b.mustExecute(t, p, "e1")
	b.asOther(t, policies, "tiercel-isolate-"+effectName("e1"), `{"metadata": {"labels": {"seen": "yes"}}}`)
	b.mustRevert(t, p.Inverse, "e1") // the one of the intent, as after a crash
	if got := b.fetch(t, policies, "tiercel-isolate-"+effectName("e1")); got != nil {
		t.Fatal("the policy is still there")
	}
	if r := b.mustRevert(t, res.Inverse, "e1"); !strings.Contains(r.Note, "nothing to take back") {
		t.Errorf("note %q at the second revert", r.Note)
	}
	b.mustExecute(t, p, "e1") // the same name, another object
	if r := b.mustRevert(t, res.Inverse, "e1"); !strings.Contains(r.Note, "left alone") {
		t.Errorf("note %q: the first object's inverse took the second one", r.Note)
	}
}

func TestCreateMeetsOthers(t *testing.T) {
	b := setUp(t, isolating)
	q := b.denyAll()
	q.Name = "taken"
	mustCreate(t, b.c, policies, b.scope.Target.Namespace, `{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "taken"}, "spec": {"podSelector": {}}}`)
	p := b.mustPrepare(t, abi.OpKubernetesCreate, q)
	_, err := b.Execute(t.Context(), b.scope, p, "e1")
	wantCode(t, err, abi.CodeExists)
	if r := b.mustRevert(t, p.Inverse, "e1"); !strings.Contains(r.Note, "left alone") || b.fetch(t, policies, "taken") == nil {
		t.Errorf("the revert touched somebody else's policy: %q", r.Note)
	}
}

func TestPatch(t *testing.T) {
	b := setUp(t, isolating)
	p := b.mustPrepare(t, abi.OpKubernetesPatch, b.label(`"e"`))
	b.asOther(t, pods, "web-1", `{"metadata": {"labels": {"unrelated": "1"}}}`) // the resourceVersion moves on
	res := b.mustExecute(t, p, "e1")
	if got := b.fetch(t, pods, "web-1").GetLabels()["tiercel.dev/quarantine"]; got != "e" {
		t.Fatalf("label %q", got)
	}
	version := b.fetch(t, pods, "web-1").GetResourceVersion()
	if again := b.mustExecute(t, p, "e1"); again.Note == "" || b.fetch(t, pods, "web-1").GetResourceVersion() != version {
		t.Errorf("the repetition wrote again (note %q)", again.Note)
	}
	if done, _, err := b.Look(t.Context(), b.scope, p, "e1"); !done || err != nil {
		t.Errorf("look: %v, %v", done, err)
	}
	if bytes.Contains(res.Response, []byte("s3cret")) {
		t.Error("the response holds an environment value")
	}
	b.mustRevert(t, p.Inverse, "e1")
	want := map[string]string{"app": "web", "unrelated": "1"}
	if diff := cmp.Diff(want, b.fetch(t, pods, "web-1").GetLabels()); diff != "" {
		t.Errorf("labels after the revert (-want +got):\n%s", diff)
	}
	if a := b.fetch(t, pods, "web-1").GetAnnotations(); len(a) != 0 {
		t.Errorf("annotations after the revert: %v", a)
	}
	if r := b.mustRevert(t, p.Inverse, "e1"); !strings.Contains(r.Note, "nothing to take back") {
		t.Errorf("note %q at the second revert", r.Note)
	}
}

func TestPatchLosesToOthers(t *testing.T) {
	b := setUp(t, isolating)
	p := b.mustPrepare(t, abi.OpKubernetesPatch, b.label(`"e"`))
	b.asOther(t, pods, "web-1", `{"metadata": {"labels": {"tiercel.dev/quarantine": "other"}}}`)
	_, err := b.Execute(t.Context(), b.scope, p, "e1")
	wantCode(t, err, abi.CodeConflict)

	p = b.mustPrepare(t, abi.OpKubernetesPatch, b.label(`"e"`))
	b.mustExecute(t, p, "e2")
	b.asOther(t, pods, "web-1", `{"metadata": {"labels": {"tiercel.dev/quarantine": "later"}}}`)
	if r := b.mustRevert(t, p.Inverse, "e2"); !strings.Contains(r.Note, "metadata.labels.tiercel.dev/quarantine") {
		t.Errorf("note %q does not say what was left alone", r.Note)
	}
	if got := b.fetch(t, pods, "web-1").GetLabels()["tiercel.dev/quarantine"]; got != "later" {
		t.Errorf("the revert overwrote a later change: %q", got)
	}
}

func TestPatchForms(t *testing.T) {
	forms := map[abi.PatchType]string{
		abi.PatchMerge:     `{"metadata": {"annotations": {"note": "new"}, "labels": {"app": null}}}`,
		abi.PatchJSON:      `[{"op": "add", "path": "/metadata/annotations", "value": {"note": "new"}}, {"op": "remove", "path": "/metadata/labels/app"}]`,
		abi.PatchStrategic: `{"metadata": {"annotations": {"note": "new"}, "labels": {"app": null}}}`,
		abi.PatchApply:     `{"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": {"note": "new"}, "labels": {"app": "web"}}}`,
	}
	for form, patch := range forms {
		t.Run(string(form), func(t *testing.T) {
			b := setUp(t, isolating)
			p := b.mustPrepare(t, abi.OpKubernetesPatch, abi.KubernetesPatch{KubernetesRef: ref("v1", "pods", "web-1"), Type: form, Patch: abi.Raw(patch)})
			before := b.fetch(t, pods, "web-1")
			b.mustExecute(t, p, "e1")
			got := b.fetch(t, pods, "web-1")
			if a := got.GetAnnotations(); a["note"] != "new" || a[b.scope.Function.Annotation()] != "e1" {
				t.Errorf("annotations %v", a)
			}
			if _, there := got.GetLabels()["app"]; there != (form == abi.PatchApply) {
				t.Errorf("labels %v", got.GetLabels())
			}
			b.mustRevert(t, p.Inverse, "e1")
			if diff := cmp.Diff(settled(before.Object), settled(b.fetch(t, pods, "web-1").Object)); diff != "" {
				t.Errorf("after the revert (-before +after):\n%s", diff)
			}
		})
	}
}

func TestPatchRefused(t *testing.T) {
	b := setUp(t, isolating)
	for name, q := range map[string]struct {
		patch string
		uid   string
		code  abi.Code
	}{
		"another uid":    {`{"metadata": {"labels": {"a": "b"}}}`, "00000000-0000-0000-0000-000000000000", abi.CodeConflict},
		"changes uid":    {`{"metadata": {"uid": "x"}}`, "", abi.CodeInvalid},
		"forges a mark":  {`{"metadata": {"annotations": {"effect.tiercel.dev/0123456789": "x"}}}`, "", abi.CodeDenied},
		"drops marks":    {`{"metadata": {"annotations": null}}`, "", abi.CodeInvalid},
		"not an object":  {`[1]`, "", abi.CodeInvalid},
		"no JSON at all": {`{"a":`, "", abi.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			request := fmt.Sprintf(`{"apiVersion": "v1", "resource": "pods", "name": "web-1", "uid": %q, "patch": %s}`, q.uid, q.patch)
			_, err := b.Prepare(t.Context(), b.scope, abi.OpKubernetesPatch, []byte(request))
			wantCode(t, err, q.code)
		})
	}
}

var killing = Grants{Kubernetes: []KubernetesGrant{
	{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "delete"}},
	{APIGroups: []string{""}, Resources: []string{"pods/eviction"}, Verbs: []string{"create"}},
}}

func TestDeleteOnlyThatOne(t *testing.T) {
	b := setUp(t, killing)
	zero := int64(0)
	q := abi.KubernetesDelete{KubernetesRef: ref("v1", "pods", "web-1"), UID: b.scope.Target.PodUID, GracePeriodSeconds: &zero}
	p := b.mustPrepare(t, abi.OpKubernetesDelete, q)
	if p.Inverse.Reversible() || p.Inverse.Irreversible == "" {
		t.Errorf("inverse of a delete: %+v", p.Inverse)
	}
	b.mustExecute(t, p, "e1")
	if b.fetch(t, pods, "web-1") != nil {
		t.Fatal("the pod is still there")
	}
	b.pod(t, "web-1", "node-a") // a successor of the same name
	if r := b.mustExecute(t, p, "e1"); r.Note != "gone already" {
		t.Errorf("note %q", r.Note)
	}
	if b.fetch(t, pods, "web-1") == nil {
		t.Fatal("the successor was deleted")
	}
	if done, _, err := b.Look(t.Context(), b.scope, p, "e1"); !done || err != nil {
		t.Errorf("look: %v, %v", done, err)
	}
	b.c.targets = targetCache{}
	_, err := b.Prepare(t.Context(), b.scope, abi.OpKubernetesDelete, mustJSON(q))
	wantCode(t, err, abi.CodeNotFound)
	q.UID = ""
	_, err = b.Prepare(t.Context(), b.scope, abi.OpKubernetesDelete, mustJSON(q))
	wantCode(t, err, abi.CodeInvalid)
}

func TestEvict(t *testing.T) {
	b := setUp(t, killing)
	request := fmt.Sprintf(`{"apiVersion": "v1", "resource": "pods", "subresource": "eviction", "name": "web-1",
		"object": {"deleteOptions": {"gracePeriodSeconds": 0, "preconditions": {"uid": %q}}}}`, b.scope.Target.PodUID)
	p, err := b.Prepare(t.Context(), b.scope, abi.OpKubernetesCreate, []byte(request))
	if err != nil {
		t.Fatal(err)
	}
	dry := b
	dry.scope.Mode = DryRun
	if r := dry.mustExecute(t, p, "e1"); !r.Rehearsed || b.fetch(t, pods, "web-1") == nil {
		t.Fatal("a rehearsal evicted")
	}
	b.mustExecute(t, p, "e1")
	if b.fetch(t, pods, "web-1") != nil {
		t.Fatal("the pod is still there")
	}
	if r := b.mustExecute(t, p, "e1"); !strings.Contains(r.Note, "gone already") {
		t.Errorf("note %q", r.Note)
	}
}

func TestDryRun(t *testing.T) {
	b := setUp(t, isolating)
	b.scope.Mode = DryRun
	create := b.mustPrepare(t, abi.OpKubernetesCreate, b.denyAll())
	patch := b.mustPrepare(t, abi.OpKubernetesPatch, b.label(`"e"`))
	version := b.fetch(t, pods, "web-1").GetResourceVersion()
	for _, p := range []*Prepared{create, patch} {
		r := b.mustExecute(t, p, "e1")
		if !r.Rehearsed || r.Note != "" || !bytes.Contains(r.Response, []byte(`"dryRun":true`)) {
			t.Errorf("%s: %+v", p.Summary, r)
		}
	}
	if b.fetch(t, pods, "web-1").GetResourceVersion() != version || b.fetch(t, policies, "tiercel-isolate-"+effectName("e1")) != nil {
		t.Error("a rehearsal wrote")
	}
}

func TestRehearsedWithReadsOnly(t *testing.T) {
	reads := Grants{Kubernetes: []KubernetesGrant{{APIGroups: []string{"", "networking.k8s.io"}, Resources: []string{"pods", "networkpolicies"}, Verbs: []string{"get"}}}}
	b := setUp(t, reads)
	b.scope.Mode, b.scope.Grants = DryRun, isolating // granted, but the ServiceAccount's role is older
	for _, p := range []*Prepared{b.mustPrepare(t, abi.OpKubernetesCreate, b.denyAll()), b.mustPrepare(t, abi.OpKubernetesPatch, b.label(`"e"`))} {
		r := b.mustExecute(t, p, "e1")
		if !r.Rehearsed || !strings.Contains(r.Note, "rehearsed on the object as read") || !bytes.Contains(r.Response, []byte("tiercel.dev/quarantine")) {
			t.Errorf("%s: %+v", p.Summary, r)
		}
	}
}

// The host is asked to do what the function was never granted, as if its own checks were broken: the API server refuses.
func TestRBACRefuses(t *testing.T) {
	b := setUp(t, isolating)
	everything := Grants{Reach: ReachCluster, Kubernetes: []KubernetesGrant{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}}
	_, err := b.Prepare(t.Context(), b.scope, abi.OpKubernetesList, mustJSON(abi.KubernetesList{KubernetesRef: ref("v1", "secrets", "")}))
	wantCode(t, err, abi.CodeDenied)
	b.scope.Grants = everything
	for op, request := range map[string]any{
		abi.OpKubernetesList:   abi.KubernetesList{KubernetesRef: ref("v1", "secrets", "")},
		abi.OpKubernetesDelete: abi.KubernetesDelete{KubernetesRef: ref("v1", "pods", "web-1"), UID: b.scope.Target.PodUID},
		abi.OpKubernetesCreate: abi.KubernetesCreate{KubernetesRef: ref("v1", "configmaps", "x"), Object: abi.Raw(`{"apiVersion": "v1", "kind": "ConfigMap"}`)},
	} {
		p, err := b.Prepare(t.Context(), b.scope, op, mustJSON(request))
		if err != nil {
			t.Fatalf("%s: the host refused: %v", op, err)
		}
		_, err = b.Execute(t.Context(), b.scope, p, "e1")
		wantCode(t, err, abi.CodeForbidden)
		if want := "system:serviceaccount:tiercel:" + b.scope.Function.ServiceAccount(); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v does not name %s", op, err, want)
		}
	}
	if b.fetch(t, pods, "web-1") == nil {
		t.Error("the pod is gone")
	}
}

func TestImpersonate(t *testing.T) {
	b := setUp(t, isolating)
	c, err := Connect(ClusterConfig{Kubeconfig: cluster.Kubeconfig, Identity: Impersonate})
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{Cluster: c})
	if err != nil {
		t.Fatal(err)
	}
	b.Registry, b.c = r, c
	b.mustExecute(t, b.mustPrepare(t, abi.OpKubernetesPatch, b.label(`"e"`)), "e1")
	b.scope.Grants = Grants{Reach: ReachCluster, Kubernetes: []KubernetesGrant{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}}
	_, err = b.Execute(t.Context(), b.scope, b.mustPrepare(t, abi.OpKubernetesList, abi.KubernetesList{KubernetesRef: ref("v1", "secrets", "")}), "")
	wantCode(t, err, abi.CodeForbidden)
}

func TestForged(t *testing.T) {
	b := setUp(t, isolating)
	write := func(s Scope) error {
		_, err := b.Prepare(t.Context(), s, abi.OpKubernetesPatch, mustJSON(b.label(`"e"`)))
		return err
	}
	elsewhere := b.scope
	elsewhere.Target.Node = "node-b"
	if err := write(elsewhere); !errors.Is(err, ErrForged) {
		t.Errorf("a pod of another node: %v", err)
	}
	successor := b.scope
	successor.Target.PodUID = "00000000-0000-0000-0000-000000000000"
	wantCode(t, write(successor), abi.CodeNotFound)
	gone := b.scope
	gone.Target.Pod = "web-9"
	if err := write(gone); err == nil {
		t.Error("a pod that is not there")
	}
	noUID := b.scope
	noUID.Target.PodUID = ""
	wantCode(t, write(noUID), abi.CodeDenied)
	if labels := b.fetch(t, pods, "web-1").GetLabels(); len(labels) != 1 {
		t.Errorf("labels %v", labels)
	}
}

func TestReachTarget(t *testing.T) {
	grants := Grants{Kubernetes: []KubernetesGrant{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}}
	b := setUp(t, grants)
	other := b.pod(t, "web-2", "node-a")
	ownerless := b.denyAll()
	ownerless.Object = abi.Raw(`{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": {}}}`)
	elsewhere := b.denyAll()
	elsewhere.Namespace = "kube-system"
	foreign := mustCreate(t, b.c, policies, b.scope.Target.Namespace, `{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "theirs"}, "spec": {"podSelector": {}}}`)
	for name, q := range map[string]struct {
		op      string
		request any
	}{
		"patch another pod":      {abi.OpKubernetesPatch, abi.KubernetesPatch{KubernetesRef: ref("v1", "pods", "web-2"), Patch: abi.Raw(`{}`)}},
		"delete another pod":     {abi.OpKubernetesDelete, abi.KubernetesDelete{KubernetesRef: ref("v1", "pods", "web-2"), UID: string(other.GetUID())}},
		"create without owner":   {abi.OpKubernetesCreate, ownerless},
		"create elsewhere":       {abi.OpKubernetesCreate, elsewhere},
		"delete a foreign one":   {abi.OpKubernetesDelete, abi.KubernetesDelete{KubernetesRef: ref("networking.k8s.io/v1", "networkpolicies", "theirs"), UID: string(foreign.GetUID())}},
		"patch another node":     {abi.OpKubernetesPatch, abi.KubernetesPatch{KubernetesRef: ref("v1", "nodes", "node-b"), Patch: abi.Raw(`{}`)}},
		"list another namespace": {abi.OpKubernetesList, abi.KubernetesList{KubernetesRef: abi.KubernetesRef{APIVersion: "v1", Resource: "pods", Namespace: "kube-system"}}},
		"list cluster roles":     {abi.OpKubernetesList, abi.KubernetesList{KubernetesRef: ref("rbac.authorization.k8s.io/v1", "clusterroles", "")}},
		"another pod's log":      {abi.OpKubernetesGet, abi.KubernetesGet{KubernetesRef: abi.KubernetesRef{APIVersion: "v1", Resource: "pods", Subresource: "log", Name: "web-2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.Prepare(t.Context(), b.scope, q.op, mustJSON(q.request))
			wantCode(t, err, abi.CodeDenied)
		})
	}
	t.Run("its own policy", func(t *testing.T) {
		res := b.mustExecute(t, b.mustPrepare(t, abi.OpKubernetesCreate, b.denyAll()), "e1")
		var made struct {
			Object struct{ Metadata struct{ Name, UID string } }
		}
		if err := json.Unmarshal(res.Response, &made); err != nil {
			t.Fatal(err)
		}
		b.mustExecute(t, b.mustPrepare(t, abi.OpKubernetesDelete, abi.KubernetesDelete{
			KubernetesRef: ref("networking.k8s.io/v1", "networkpolicies", made.Object.Metadata.Name), UID: made.Object.Metadata.UID,
		}), "e2")
	})
	t.Run("protected namespace", func(t *testing.T) {
		s := b.scope
		s.Grants.Reach = ReachCluster
		_, err := b.Prepare(t.Context(), s, abi.OpKubernetesCreate, mustJSON(elsewhere))
		wantCode(t, err, abi.CodeDenied)
		if !strings.Contains(err.Error(), "protected") {
			t.Error(err)
		}
	})
}

func TestReads(t *testing.T) {
	reads := Grants{Kubernetes: []KubernetesGrant{{APIGroups: []string{""}, Resources: []string{"pods", "secrets"}, Verbs: []string{"get", "list"}}}}
	b := setUp(t, reads)
	mustCreate(t, b.c, schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, b.scope.Target.Namespace,
		`{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"password": "hunter2hunter2"}}`)
	for _, q := range []struct {
		op      string
		request any
		has     string
	}{
		{abi.OpKubernetesGet, abi.KubernetesGet{KubernetesRef: ref("v1", "secrets", "key")}, `"password":"[redacted]"`},
		{abi.OpKubernetesList, abi.KubernetesList{KubernetesRef: ref("v1", "secrets", "")}, `"password":"[redacted]"`},
		{abi.OpKubernetesGet, abi.KubernetesGet{KubernetesRef: ref("v1", "pods", "web-1")}, `"name":"TOKEN","value":"[redacted]"`},
		{abi.OpKubernetesList, abi.KubernetesList{KubernetesRef: ref("v1", "pods", ""), LabelSelector: "app=web"}, `"name":"web-1"`},
	} {
		p := b.mustPrepare(t, q.op, q.request)
		r := b.mustExecute(t, p, "")
		if p.Write || !bytes.Contains(r.Response, []byte(q.has)) || bytes.Contains(r.Response, []byte("managedFields")) {
			t.Errorf("%s: %s has no %s", p.Summary, r.Response, q.has)
		}
	}
	_, err := b.Prepare(t.Context(), b.scope, abi.OpKubernetesGet, mustJSON(abi.KubernetesGet{KubernetesRef: ref("v1", "pod", "web-1")}))
	wantCode(t, err, abi.CodeDenied)
	b.scope.Grants.Kubernetes[0].Resources = []string{"*"}
	_, err = b.Prepare(t.Context(), b.scope, abi.OpKubernetesGet, mustJSON(abi.KubernetesGet{KubernetesRef: ref("v1", "pod", "web-1")}))
	wantCode(t, err, abi.CodeNotFound)
	if !strings.Contains(err.Error(), `do you mean "pods"?`) {
		t.Error(err)
	}
}

// counting counts the requests whose path ends in suffix.
type counting struct {
	next   http.RoundTripper
	suffix string
	n      *atomic.Int64
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, c.suffix) {
		c.n.Add(1)
	}
	return c.next.RoundTrip(r)
}

func TestTokenIsKept(t *testing.T) {
	b := setUp(t, isolating)
	var minted atomic.Int64
	base := b.c.RESTConfig()
	base.Wrap(func(rt http.RoundTripper) http.RoundTripper { return counting{rt, "/token", &minted} })
	c, err := newCluster(ClusterConfig{}, base)
	if err != nil {
		t.Fatal(err)
	}
	clock := time.Now()
	c.now = func() time.Time { return clock }
	get := func() {
		t.Helper()
		pod := ref("v1", "pods", "web-1")
		pod.Namespace = b.scope.Target.Namespace
		if _, err := c.read(t.Context(), b.scope, located(pod, "get"), "web-1"); err != nil {
			t.Fatal(err)
		}
	}
	get()
	get()
	if n := minted.Load(); n != 1 {
		t.Errorf("%d tokens for two requests", n)
	}
	clock = clock.Add(7 * time.Minute) // 70 % of ten minutes
	get()
	if n := minted.Load(); n != 1 {
		t.Errorf("%d tokens at 70 %% of the first one's life", n)
	}
	clock = clock.Add(90 * time.Second)
	get()
	if n := minted.Load(); n != 2 {
		t.Errorf("%d tokens at 85 %% of the first one's life", n)
	}
}

func TestNoServiceAccount(t *testing.T) {
	b := setUp(t, isolating)
	b.scope.Function.Name = "never-provisioned"
	_, err := b.Prepare(t.Context(), b.scope, abi.OpKubernetesPatch, mustJSON(b.label(`"e"`)))
	wantCode(t, err, abi.CodeForbidden)
	if !strings.Contains(err.Error(), "no ServiceAccount tiercel/never-provisioned") {
		t.Error(err)
	}
}

func TestDeprovision(t *testing.T) {
	b := setUp(t, isolating)
	if err := b.c.Deprovision(t.Context(), b.scope.Function, isolating); err != nil {
		t.Fatal(err)
	}
	if err := b.c.Deprovision(t.Context(), b.scope.Function, isolating); err != nil {
		t.Errorf("the second time: %v", err)
	}
	kubetest.Eventually(t, time.Minute, "the function can do nothing any more", func() bool {
		_, err := b.Prepare(t.Context(), b.scope, abi.OpKubernetesPatch, mustJSON(b.label(`"e"`)))
		return err != nil
	})
}

func TestAuditKnowsTheFunction(t *testing.T) {
	b := setUp(t, isolating)
	b.mustExecute(t, b.mustPrepare(t, abi.OpKubernetesCreate, b.denyAll()), "e1")
	want := UserAgent("dev", b.scope)
	user := "system:serviceaccount:tiercel:" + b.scope.Function.ServiceAccount()
	kubetest.Eventually(t, time.Minute, "the audit log shows the create with its user and User-Agent", func() bool {
		log, err := os.ReadFile(filepath.Join(cluster.Dir, "audit.log"))
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(bytes.Split(log, []byte("\n")), func(line []byte) bool {
			return bytes.Contains(line, []byte(`"verb":"create"`)) && bytes.Contains(line, []byte(`"resource":"networkpolicies"`)) &&
				bytes.Contains(line, []byte(want)) && bytes.Contains(line, []byte(`"username":"`+user+`"`))
		})
	})
}

func TestServerAway(t *testing.T) {
	away := kubetest.Start(t)
	c, err := Connect(ClusterConfig{Kubeconfig: away.Kubeconfig, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{Cluster: c})
	if err != nil {
		t.Fatal(err)
	}
	s := Scope{Function: Function{Name: "f", UID: "u"}, Mode: Enforce, Grants: Grants{Reach: ReachCluster, Kubernetes: []KubernetesGrant{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "create"}},
	}}}
	if err := c.Provision(t.Context(), s.Function, s.Grants); err != nil {
		t.Fatal(err)
	}
	request := mustJSON(abi.KubernetesCreate{
		KubernetesRef: abi.KubernetesRef{APIVersion: "v1", Resource: "configmaps", Namespace: "default"},
		Object:        abi.Raw(`{"apiVersion": "v1", "kind": "ConfigMap"}`),
	})
	p, err := r.Prepare(t.Context(), s, abi.OpKubernetesCreate, request)
	if err != nil {
		t.Fatal(err)
	}
	away.Kill()
	if _, err := r.Execute(t.Context(), s, p, "e1"); !isTransient(err) {
		t.Errorf("execute without a server: %v", err)
	}
	if _, _, err := r.Look(t.Context(), s, p, "e1"); !isTransient(err) {
		t.Errorf("look without a server: %v", err)
	}
	if err := away.Restart(); err != nil {
		t.Fatal(err)
	}
	kubetest.Eventually(t, time.Minute, "the create goes through", func() bool {
		_, err := r.Execute(t.Context(), s, p, "e1")
		if err != nil && !isTransient(err) {
			t.Fatal(err)
		}
		return err == nil
	})
}

func isTransient(err error) bool {
	_, ok := Transient(err)
	return ok
}

// BenchmarkIsolate is the API's share of an isolation: label and policy, as a function's ServiceAccount.
func BenchmarkIsolate(b *testing.B) {
	c, err := Connect(ClusterConfig{Kubeconfig: cluster.Kubeconfig})
	if err != nil {
		b.Fatal(err)
	}
	r, err := New(Config{Cluster: c})
	if err != nil {
		b.Fatal(err)
	}
	s := Scope{Function: Function{Name: "bench", UID: "bench"}, Mode: Enforce, Grants: isolating}
	s.Grants.Reach = ReachCluster
	if err := c.Provision(b.Context(), s.Function, s.Grants); err != nil {
		b.Fatal(err)
	}
	request := mustJSON(abi.KubernetesCreate{
		KubernetesRef: abi.KubernetesRef{APIVersion: "networking.k8s.io/v1", Resource: "networkpolicies", Namespace: "default"},
		Object:        abi.Raw(`{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": {}}}`),
	})
	var took []time.Duration
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		start := time.Now()
		p, err := r.Prepare(context.Background(), s, abi.OpKubernetesCreate, request)
		if err != nil {
			b.Fatal(err)
		}
		n++
		if _, err := r.Execute(context.Background(), s, p, fmt.Sprint("e", n)); err != nil {
			if isTransient(err) {
				continue
			}
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
