//go:build kube

package responders

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/bustest"
	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/runtime"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/revert"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/test/kubetest"
)

// limit is how long a test waits for what has to come.
const limit = time.Minute

// cluster is shared; each test works in a namespace of its own.
var cluster *kubetest.Cluster

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "responders")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if cluster, err = kubetest.Run(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer cluster.Kill()
	return m.Run()
}

// A stage is a runtime with one function, and a namespace with a pod for it to act on.
type stage struct {
	t         *testing.T
	namespace string
	client    *kubernetes.Clientset
	bus       *bus.Bus
	store     interface {
		GetString(ctx context.Context, name string) (string, error)
	}
	runtime *runtime.Runtime
	target  bus.Target
	actions chan *journal.Action
}

var stages atomic.Int64 // -count runs a test again

const testRule = "Terminal shell in container"

// newStage deploys a responder of this repository, by its name, with the rest of the document's spec as given.
func newStage(t *testing.T, name, spec string) *stage {
	t.Helper()
	ctx := t.Context()
	s := &stage{t: t, namespace: fmt.Sprintf("%s-%d", strings.ToLower(t.Name()), stages.Add(1)), bus: bustest.Start(t, bus.DefaultServerConfig()), actions: make(chan *journal.Action, 100)}
	s.pod(ctx)
	c, err := capability.Connect(capability.ClusterConfig{Kubeconfig: cluster.Kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	kv, err := s.bus.KeyValue(ctx, bus.BucketKV)
	if err != nil {
		t.Fatal(err)
	}
	artifacts, err := s.bus.ObjectStore(ctx, bus.StoreArtifacts)
	if err != nil {
		t.Fatal(err)
	}
	s.store = objects(func(ctx context.Context, name string) (string, error) { return artifacts.GetString(ctx, name) })
	caps, err := capability.New(capability.Config{Cluster: c, KV: kv, Artifacts: artifacts})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := sandbox.New(sandbox.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	s.start(caps, c, engine)
	s.deploy(engine, name, spec)
	return s
}

// objects is a store that texts are read from.
type objects func(ctx context.Context, name string) (string, error)

func (f objects) GetString(ctx context.Context, name string) (string, error) { return f(ctx, name) }

// pod makes the namespace and its pod, whose container the node has.
func (s *stage) pod(ctx context.Context) {
	config, err := clientcmd.BuildConfigFromFlags("", cluster.Kubeconfig)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.client, err = kubernetes.NewForConfig(config); err != nil {
		s.t.Fatal(err)
	}
	core := s.client.CoreV1()
	if _, err := core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	if _, err := core.ServiceAccounts(s.namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	p, err := core.Pods(s.namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: kubetest.Node, Containers: []corev1.Container{{Name: "web", Image: "web"}, {Name: "proxy", Image: "proxy"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	cluster.Container(s.t, s.namespace, "web-1", "web", "GET /\nGET /admin\n")
	cluster.Container(s.t, s.namespace, "web-1", "proxy", "proxied\n")
	s.target = bus.Target{Cluster: "default", Node: kubetest.Node, Namespace: s.namespace, Pod: "web-1", PodUID: string(p.UID), Container: "web"}
}

// start runs the runtime until the test ends.
func (s *stage) start(caps *capability.Registry, c *capability.Cluster, engine *sandbox.Engine) {
	rt, err := runtime.New(s.t.Context(), runtime.DefaultConfig(), runtime.Deps{
		Bus: s.bus, Capabilities: caps, Provision: c.Provision, Deprovision: c.Deprovision,
		Compile: func(ctx context.Context, module []byte) (runtime.Guest, error) {
			m, err := engine.Compile(ctx, module)
			if err != nil {
				return nil, err
			}
			return m, nil
		},
		OnAction: func(a *journal.Action) { s.actions <- a },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.runtime = rt
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- rt.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
}

// deploy stores the responder and waits until it takes events.
func (s *stage) deploy(engine *sandbox.Engine, name, spec string) {
	s.t.Helper()
	docs, err := function.Parse(name+".yaml", []byte("apiVersion: tiercel.dev/v1alpha1\nkind: Function\nmetadata: {name: "+s.namespace+"}\nspec:\n  module: builtin:"+name+
		"\n  mode: enforce\n  triggers: [{rules: ["+testRule+"]}]\n"+spec))
	if err != nil {
		s.t.Fatal(err)
	}
	d := runtime.Deployer{Store: s.runtime.Store(), Builtin: func(name string) ([]byte, error) { return module(s.t.Context(), engine, name) }}
	if _, err := d.Deploy(s.t.Context(), docs[0], "cli", "test"); err != nil {
		s.t.Fatal(err)
	}
	kubetest.Eventually(s.t, limit, "the function takes events", func() bool {
		stream, err := s.bus.JetStream().Stream(s.t.Context(), bus.StreamEvents)
		if err != nil {
			s.t.Fatal(err)
		}
		info, err := stream.Info(s.t.Context())
		return err == nil && info.State.Consumers > 0
	})
}

// module makes the responder from its source, as make responders does.
func module(ctx context.Context, engine *sandbox.Engine, name string) ([]byte, error) {
	dir := kubetest.Root() + "/functions/" + name
	source, err := os.ReadFile(dir + "/" + name + ".js")
	if os.IsNotExist(err) {
		return functions.Build(ctx, dir)
	}
	if err != nil {
		return nil, err
	}
	p, err := engine.Pack(ctx, name+".js", source)
	if err != nil {
		return nil, err
	}
	return p.Module, nil
}

var ids = bus.NewIDs(kubetest.Node)

// match publishes an event about the stage's pod and returns the action that comes of it.
func (s *stage) match() *journal.Action {
	s.t.Helper()
	now := time.Now()
	m := &bus.MatchData{
		Output: "a shell (user=root)", OutputFields: json.RawMessage("{}"), Priority: "Warning", Rule: testRule, Source: "syscall",
		Time: now, Fields: json.RawMessage(`{"proc.cmdline":"bash -i"}`), Target: s.target, Hostname: kubetest.Node,
	}
	e := &bus.Event{
		ID: ids.New(now), Source: bus.SourceURI("default", kubetest.Node, m.Source), Type: bus.TypeRuleMatched, Subject: s.namespace + "/web-1",
		Time: now, Rule: m.Rule, Priority: m.Priority, EventSource: m.Source, Hostname: kubetest.Node, Data: m.AppendJSON(nil),
	}
	msg := nats.NewMsg(string(bus.EventSubject(m.Source, m.Priority, m.Rule, s.namespace, kubetest.Node)))
	msg.Header.Set("Nats-Msg-Id", e.ID)
	msg.Header.Set("Content-Type", "application/cloudevents+json")
	msg.Data = bus.Marshal(e)
	if _, err := s.bus.JetStream().PublishMsg(s.t.Context(), msg); err != nil {
		s.t.Fatal(err)
	}
	return s.ended()
}

// ended is the next action that has ended.
func (s *stage) ended() *journal.Action {
	s.t.Helper()
	select {
	case a := <-s.actions:
		return a
	case <-time.After(limit):
		s.t.Fatal("no action has ended")
		return nil
	}
}

// succeeds is match, whose action must have succeeded.
func (s *stage) succeeds() *journal.Action {
	s.t.Helper()
	a := s.match()
	if a.Outcome != journal.Succeeded {
		s.t.Fatalf("%s: %s", a.Outcome, a.End.Text)
	}
	return a
}

// revert undoes an action, which must succeed.
func (s *stage) revert(a *journal.Action) {
	s.t.Helper()
	if err := revert.Ask(s.t.Context(), s.bus, revert.Request{Function: a.Function, Invocation: a.ID, By: "test", Manual: true}, "test"); err != nil {
		s.t.Fatal(err)
	}
	if r := s.ended(); r.Revert == nil || r.Outcome != journal.Succeeded {
		s.t.Fatalf("%s: %s", r.Outcome, r.End.Text)
	}
}

func (s *stage) fetch() *corev1.Pod {
	s.t.Helper()
	p, err := s.client.CoreV1().Pods(s.namespace).Get(s.t.Context(), "web-1", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// artifacts are the texts that an action has kept, by name.
func (s *stage) artifacts(a *journal.Action) map[string]string {
	s.t.Helper()
	kept := map[string]string{}
	for _, c := range a.Calls {
		var q capability.ArtifactCall
		if c.Op != "artifact.put" || json.Unmarshal(c.Prepared.Canonical, &q) != nil {
			continue
		}
		text, err := s.store.GetString(s.t.Context(), q.Digest)
		if err != nil {
			s.t.Fatal(err)
		}
		kept[q.Name] = text
	}
	return kept
}

// rules are all that RBAC allows the function's account, as the cluster has them.
func (s *stage) rules() []string {
	s.t.Helper()
	var all []string
	roles, err := s.client.RbacV1().ClusterRoles().List(s.t.Context(), metav1.ListOptions{LabelSelector: "tiercel.dev/function"})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range roles.Items {
		if r.Name != "tiercel:"+s.namespace {
			continue
		}
		for _, p := range r.Rules {
			all = append(all, strings.Join(p.Verbs, ",")+" "+strings.Join(p.Resources, ","))
		}
	}
	return all
}
