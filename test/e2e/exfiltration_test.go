//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/test/kubetest"
)

const (
	forbiddenSite = "203.0.113.10"
	quarantine    = "tiercel.dev/quarantine"
)

// A scene is the scenario samples/scenarios/exfiltration, set up: the API, the pod and its container, the site, Slack, and tiercel.
type scene struct {
	t         testing.TB
	client    *kubernetes.Clientset
	namespace string
	node      string
	pod       *corev1.Pod
	container *container
	inside    netns       // the pods' network
	slack     chan string // bodies of what was posted
	data      string
	tiercel   *process
}

// newScene starts everything. edit may change the documents of the functions on their way.
func newScene(t testing.TB, edit func(name, document string) string) *scene {
	t.Helper()
	s := &scene{t: t, namespace: "shop", node: fmt.Sprintf("node-%d", os.Getpid()), slack: make(chan string, 16), data: t.TempDir()}
	cluster := kubetest.Start(t)
	config, err := clientcmd.BuildConfigFromFlags("", cluster.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	s.client = kubernetes.NewForConfigOrDie(config)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/services/T0/B0/s3cret" {
			http.Error(w, "no_service", http.StatusNotFound)
			return
		}
		select {
		case s.slack <- string(body):
		default: // nobody reads: a benchmark
		}
		_, _ = w.Write([]byte("ok"))
	}))
	t.Cleanup(receiver.Close)

	scenario := filepath.Join(kubetest.Root(), "samples", "scenarios", "exfiltration")
	functions := t.TempDir()
	for _, name := range []string{"isolate-pod.yaml", "notify.yaml"} {
		document, err := os.ReadFile(filepath.Join(scenario, "functions", name))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(document), "https://hooks.slack.com/", receiver.URL+"/services/")
		writeFile(t, filepath.Join(functions, name), edit(name, text))
	}
	secrets := t.TempDir()
	writeFile(t, filepath.Join(secrets, "slack-webhook"), receiver.URL+"/services/T0/B0/s3cret\n")

	s.makeSite()
	s.pod, s.container = s.addPod("web-1")
	s.tiercel = start(t, "run", "--kubeconfig", cluster.Kubeconfig, "--node", s.node, "--data", s.data, "--http", "",
		"--secrets", secrets, "--rules", filepath.Join(scenario, "rules.yaml"), "--functions", functions)
	s.tiercel.stderr.waitFor(t, 2*time.Minute, `msg="watching the kernel"`)
	eventually(t, "both functions take events", func() bool {
		list := tiercel(t, "fn", "list", "--data", s.data)
		return strings.Contains(list, "isolate-pod") && strings.Contains(list, "notify")
	})
	eventually(t, "the functions may act", s.mayAct)
	return s
}

// mayAct reports whether the functions' roles are in force.
func (s *scene) mayAct() bool {
	_, err := s.client.RbacV1().ClusterRoleBindings().Get(s.t.Context(), "tiercel:isolate-pod", metav1.GetOptions{})
	return err == nil
}

// makeSite makes the namespace of the pods in the API, their network, and the site in another.
func (s *scene) makeSite() {
	s.t.Helper()
	ctx, core := s.t.Context(), s.client.CoreV1()
	if _, err := core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	if _, err := core.ServiceAccounts(s.namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	site := newNetns(s.t)
	s.inside = newNetns(s.t)
	join(s.t, s.inside, "10.244.0.7", site, forbiddenSite)
	site.listen(s.t, forbiddenSite+":443")
}

// addPod makes a pod in the API as a kubelet's status would have it, and its container on this machine.
func (s *scene) addPod(name string) (*corev1.Pod, *container) {
	s.t.Helper()
	ctx, pods := s.t.Context(), s.client.CoreV1().Pods(s.namespace)
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: s.node, Containers: []corev1.Container{{Name: "web", Image: "registry.example.com/shop/web:1.4"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	id := newContainerID()
	pod.Status.Phase = corev1.PodRunning
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "web", Image: "registry.example.com/shop/web:1.4", ContainerID: "containerd://" + id,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
	}}
	if pod, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	return pod, runContainer(s.t, id, string(pod.UID), s.inside)
}

// misbehave connects from the first container to the forbidden site.
func (s *scene) misbehave() {
	s.t.Helper()
	s.container.misbehave()
}

func (c *container) misbehave() {
	c.t.Helper()
	if out, err := c.exec("nc", "-w", "30", forbiddenSite, "443").CombinedOutput(); err != nil {
		c.t.Fatalf("nc: %v\n%s", err, out)
	}
}

// label is the value of the quarantine label; empty if there is none.
func (s *scene) label() string {
	s.t.Helper()
	pod, err := s.client.CoreV1().Pods(s.namespace).Get(s.t.Context(), "web-1", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return pod.Labels[quarantine]
}

func (s *scene) policyName() string { return "tiercel-isolate-" + string(s.pod.UID) }

func (s *scene) isolated() bool {
	s.t.Helper()
	_, err := s.client.NetworkingV1().NetworkPolicies(s.namespace).Get(s.t.Context(), s.policyName(), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		s.t.Fatal(err)
	}
	return err == nil
}

// action waits for an action of the function that ended in that outcome.
func (s *scene) action(function string, outcome journal.Outcome) journal.Action {
	s.t.Helper()
	var found journal.Action
	eventually(s.t, function+" has an action that "+string(outcome), func() bool {
		var all []journal.Action
		out := tiercel(s.t, "action", "list", "--data", s.data, "--function", function, "-o", "json")
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			s.t.Fatalf("action list: %v\n%s", err, out)
		}
		for _, a := range all {
			if a.Outcome == outcome && a.Revert == nil {
				found = a
				return true
			}
		}
		return false
	})
	return found
}

func unchanged(_, document string) string { return document }

// The scenario of the README, step by step.
func TestExfiltration(t *testing.T) {
	s := newScene(t, unchanged)
	s.misbehave()

	line := s.tiercel.stdout.waitFor(t, 2*time.Minute, `Warning Connection to a forbidden site`)
	if !strings.Contains(line, "->"+forbiddenSite+":443") || !strings.Contains(line, "pod=web-1 namespace=shop") {
		t.Errorf("the match is printed as %q", line)
	}
	s.checkEvent()
	s.checkIsolation()

	select {
	case body := <-s.slack:
		for _, want := range []string{"Connection to a forbidden site", "shop/web-1", "203.0.113.10:443"} {
			if !strings.Contains(body, want) {
				t.Errorf("the message does not say %q: %s", want, body)
			}
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("Slack was not told")
	}
	isolate, notify := s.action("isolate-pod", journal.Succeeded), s.action("notify", journal.Succeeded)
	s.checkActions(isolate, notify)

	tiercel(t, "action", "revert", "--data", s.data, isolate.ID)
	if s.isolated() || s.label() != "" {
		t.Errorf("after the revert: policy %v, label %q", s.isolated(), s.label())
	}
	if out, stderr, code := command(t, "action", "revert", "--data", s.data, notify.ID); code == 0 {
		t.Errorf("a message was taken back: %s%s", out, stderr)
	}
	if code := s.tiercel.terminate(); code != 0 {
		t.Errorf("tiercel run ends with %d", code)
	}
}

// checkEvent reads the CloudEvent back from its subject.
func (s *scene) checkEvent() {
	s.t.Helper()
	out := tiercel(s.t, "event", "tail", "--data", s.data, "--all", "-n", "1", "--rule", "Connection to a forbidden site", "-o", "json")
	var e struct {
		SpecVersion, Type, Source, Subject, Rule, Priority, EventSource string
		Data                                                            struct {
			Target struct{ Node, Namespace, Pod, PodUID, Container, ContainerID, Image string }
		}
	}
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	if e.SpecVersion != "1.0" || e.Type != "dev.tiercel.rule.matched.v1" || e.Subject != "shop/web-1" || e.EventSource != "syscall" {
		s.t.Errorf("event %+v", e)
	}
	target := e.Data.Target
	if target.Node != s.node || target.Namespace != "shop" || target.Pod != "web-1" || target.PodUID != string(s.pod.UID) ||
		target.ContainerID != s.container.id || target.Container != "web" {
		s.t.Errorf("target %+v", target)
	}
	s.checkSubject()
}

// checkSubject asks the stream itself where the event is.
func (s *scene) checkSubject() {
	s.t.Helper()
	want := "tiercel.events.syscall.warning.connection_to_a_forbidden_site.shop." + s.node
	b, err := (&connect.Flags{Data: s.data}).Connect(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer b.Close()
	stream, err := b.JetStream().Stream(s.t.Context(), "EVENTS")
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := stream.GetLastMsgForSubject(s.t.Context(), want); err != nil {
		s.t.Errorf("nothing on %s: %v", want, err)
	}
}

// checkIsolation holds the policy and the label against what the responder promises.
func (s *scene) checkIsolation() {
	s.t.Helper()
	eventually(s.t, "the pod is isolated", func() bool { return s.isolated() })
	uid := string(s.pod.UID)
	if got := s.label(); got != uid {
		s.t.Errorf("label %q, want the pod's uid %q", got, uid)
	}
	policy, err := s.client.NetworkingV1().NetworkPolicies(s.namespace).Get(s.t.Context(), s.policyName(), metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	if sel := policy.Spec.PodSelector.MatchLabels; len(sel) != 1 || sel[quarantine] != uid {
		s.t.Errorf("the policy selects %v", policy.Spec.PodSelector)
	}
	if len(policy.Spec.Ingress)+len(policy.Spec.Egress) != 0 || len(policy.Spec.PolicyTypes) != 2 {
		s.t.Errorf("the policy is %+v", policy.Spec)
	}
	if o := policy.OwnerReferences; len(o) != 1 || o[0].Kind != "Pod" || string(o[0].UID) != uid {
		s.t.Errorf("the policy's owners are %+v", o)
	}
	for _, key := range []string{"tiercel.dev/event", "tiercel.dev/invocation"} {
		if policy.Annotations[key] == "" {
			s.t.Errorf("annotation %s is missing: %v", key, policy.Annotations)
		}
	}
}

// checkActions holds what the commands say about both actions against what happened.
func (s *scene) checkActions(isolate, notify journal.Action) {
	s.t.Helper()
	writes := map[string]bool{}
	for _, c := range isolate.Calls {
		if c.Effect == "" {
			continue
		}
		writes[c.Op] = true
		if took := c.Done.Sub(c.Start); took <= 0 || took > time.Minute {
			s.t.Errorf("%s took %s", c.Op, took)
		}
	}
	if !writes["kubernetes.patch"] || !writes["kubernetes.create"] || len(writes) != 2 {
		s.t.Errorf("isolate-pod wrote %v", writes)
	}
	table := tiercel(s.t, "action", "list", "--data", s.data)
	for _, a := range []journal.Action{isolate, notify} {
		if !strings.Contains(table, a.ID) {
			s.t.Errorf("action list does not show %s:\n%s", a.ID, table)
		}
		detail := tiercel(s.t, "action", "get", "--data", s.data, a.ID)
		if !strings.Contains(detail, "shop/web-1") || strings.Contains(detail, "s3cret") {
			s.t.Errorf("action get:\n%s", detail)
		}
	}
}

// The function's document says when to take it back; nobody has to ask.
func TestExfiltrationRevertsByItself(t *testing.T) {
	s := newScene(t, func(name, document string) string {
		if name == "isolate-pod.yaml" && !strings.Contains(document, "revert: {after: 15m}") {
			t.Fatal("the document of isolate-pod has no revert: {after: 15m} to shorten")
		}
		return strings.Replace(document, "revert: {after: 15m}", "revert: {after: 4s}", 1)
	})
	s.misbehave()
	isolate := s.action("isolate-pod", journal.Succeeded)
	eventually(t, "policy and label are gone again", func() bool { return !s.isolated() && s.label() == "" })
	if took := time.Since(isolate.FirstEffect()); took < 3*time.Second {
		t.Errorf("taken back after %s", took)
	}
}

// A shell with a terminal is the other rule of the scenario.
func TestTerminalShell(t *testing.T) {
	s := newScene(t, unchanged)
	if out, err := s.container.execTTY("sh", "-c", "true").CombinedOutput(); err != nil {
		t.Fatalf("sh: %v\n%s", err, out)
	}
	s.tiercel.stdout.waitFor(t, 2*time.Minute, `Notice Shell with a terminal in a container .*pod=web-1 namespace=shop`)
	s.checkIsolation()
	if body := <-s.slack; !strings.Contains(body, "Terminal shell in container") {
		t.Errorf("the message: %s", body)
	}
}

// Without the right to write, a function in dryRun says what it would do, and nothing changes.
func TestExfiltrationRehearsed(t *testing.T) {
	s := newScene(t, func(_, document string) string {
		return strings.Replace(document, "mode: enforce", "mode: dryRun # not enforce", 1)
	})
	s.misbehave()
	a := s.action("isolate-pod", journal.Succeeded)
	if s.isolated() || s.label() != "" {
		t.Errorf("a rehearsal changed something: policy %v, label %q", s.isolated(), s.label())
	}
	rehearsed := 0
	for _, c := range a.Calls {
		if c.Rehearsed {
			rehearsed++
		}
	}
	if rehearsed != 2 {
		t.Errorf("%d calls were rehearsed, want 2: %+v", rehearsed, a.Calls)
	}
	s.action("notify", journal.Succeeded)
	select {
	case body := <-s.slack:
		t.Errorf("a rehearsal posted %s", body)
	default:
	}
}
