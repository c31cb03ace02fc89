//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/test/kubetest"
)

const (
	benchRule = "Connection to a forbidden site"
	benchNode = "bench-node"
)

// BenchmarkResponders measures events a second through one runtime process, bus and journal on disk, for each class of responder: one
// that posts (unconditional), one that patches and creates (conditional), one that deletes (convergent). The cluster is real; each event
// is about another pod. -benchtime 300x
func BenchmarkResponders(b *testing.B) {
	received := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }))
	b.Cleanup(received.Close)
	cluster := kubetest.Start(b)
	for _, r := range []struct{ name, spec string }{
		{"notify", fmt.Sprintf("  config: {format: webhook, url: %q}\n  grants: {http: [%q]}\n", received.URL+"/hook", received.URL+"/")},
		{"isolate-pod", `  grants:
    kubernetes:
    - {apiGroups: [""], resources: [pods], verbs: [get, patch]}
    - {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [get, list, create, delete]}
    reach: target
`},
		{"kill-pod", `  config: {method: delete, graceSeconds: 0}
  grants:
    kubernetes:
    - {apiGroups: [""], resources: [pods], verbs: [get, delete]}
    reach: target
`},
	} {
		b.Run(r.name, func(b *testing.B) { benchResponder(b, cluster, r.name, r.spec) })
	}
}

func benchResponder(b *testing.B, cluster *kubetest.Cluster, name, spec string) {
	dir, data := b.TempDir(), b.TempDir()
	writeFile(b, filepath.Join(dir, name+".yaml"), "apiVersion: tiercel.dev/v1alpha1\nkind: Function\nmetadata: {name: "+name+"}\nspec:\n  module: builtin:"+name+
		"\n  mode: enforce\n  triggers: [{rules: ["+benchRule+"]}]\n  limits: {concurrency: 8}\n  maxAge: 1h\n"+spec)
	start(b, "runtime", "--data", data, "--kubeconfig", cluster.Kubeconfig, "--functions", dir, "--http", "", "--log-level", "warn",
		"--rules", filepath.Join(kubetest.Root(), "samples", "scenarios", "exfiltration", "rules.yaml"))
	var conn *bus.Bus
	eventually(b, name+" takes events", func() bool {
		var err error
		if conn == nil {
			if conn, err = (&connect.Flags{Data: data}).Connect(b.Context()); err != nil {
				return false
			}
		}
		stream, err := conn.JetStream().Stream(b.Context(), bus.StreamEvents)
		if err != nil {
			return false
		}
		info, err := stream.Info(b.Context())
		return err == nil && info.State.Consumers > 0
	})
	defer conn.Close()
	ended, err := conn.Conn().SubscribeSync("tiercel.outcomes.>")
	if err != nil {
		b.Fatal(err)
	}
	_ = ended.SetPendingLimits(-1, -1)
	config, err := clientcmd.BuildConfigFromFlags("", cluster.Kubeconfig)
	if err != nil {
		b.Fatal(err)
	}
	config.QPS = -1
	pods := benchPods(b, kubernetes.NewForConfigOrDie(config), name, b.N+1)
	publishMatch(b, conn, pods[0]) // the first one mints the token
	waitOutcomes(b, ended, 1)
	b.ResetTimer()
	for _, pod := range pods[1:] {
		publishMatch(b, conn, pod)
	}
	waitOutcomes(b, ended, b.N)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// benchPods makes n pods in a namespace of the responder's.
func benchPods(b *testing.B, client kubernetes.Interface, namespace string, n int) []bus.Target {
	b.Helper()
	ctx := b.Context()
	// Both are there already when a benchmark is run again with a larger b.N.
	_, _ = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	_, _ = client.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	targets := make([]bus.Target, 0, n)
	for range n {
		pod, err := client.CoreV1().Pods(namespace).Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "web-"},
			Spec:       corev1.PodSpec{NodeName: benchNode, Containers: []corev1.Container{{Name: "web", Image: "web"}}},
		}, metav1.CreateOptions{})
		if err != nil {
			b.Fatal(err)
		}
		targets = append(targets, bus.Target{Cluster: "default", Node: benchNode, Namespace: namespace, Pod: pod.Name, PodUID: string(pod.UID)})
	}
	return targets
}

var benchIDs = bus.NewIDs(benchNode)

// publishMatch stores a match about target.
func publishMatch(b *testing.B, conn *bus.Bus, target bus.Target) {
	b.Helper()
	m := &bus.MatchData{
		Output: "x", OutputFields: json.RawMessage("{}"), Priority: "Warning", Rule: benchRule, Source: "syscall",
		Time: time.Now(), Fields: json.RawMessage("{}"), Target: target, Hostname: benchNode,
	}
	e := &bus.Event{
		ID: benchIDs.New(m.Time), Source: bus.SourceURI("default", benchNode, m.Source), Type: bus.TypeRuleMatched,
		Subject: target.Namespace + "/" + target.Pod, Time: m.Time, Rule: m.Rule, Priority: m.Priority, EventSource: m.Source, Hostname: benchNode,
		Data: m.AppendJSON(nil),
	}
	msg := nats.NewMsg(string(bus.EventSubject(m.Source, m.Priority, m.Rule, target.Namespace, benchNode)))
	msg.Header.Set("Nats-Msg-Id", e.ID)
	msg.Header.Set("Content-Type", "application/cloudevents+json")
	msg.Data = bus.Marshal(e)
	if _, err := conn.JetStream().PublishMsg(b.Context(), msg); err != nil {
		b.Fatal(err)
	}
}

// waitOutcomes takes n outcomes, which must all be successes.
func waitOutcomes(b *testing.B, ended *nats.Subscription, n int) {
	b.Helper()
	for i := range n {
		msg, err := ended.NextMsg(time.Minute)
		if err != nil {
			b.Fatalf("outcome %d of %d: %v", i+1, n, err)
		}
		if token := msg.Subject[len(msg.Subject)-len("succeeded"):]; token != "succeeded" {
			b.Fatalf("%s: %s", msg.Subject, msg.Data)
		}
	}
}
