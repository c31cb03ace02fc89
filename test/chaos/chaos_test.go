//go:build chaos

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/test/kubetest"
)

const (
	namespace = "shop"
	node      = "node-a"
	rule      = "Connection to a forbidden site"
	podCount  = 64
)

// eventCount is how many events a test takes.
func eventCount() int {
	if n, err := strconv.Atoi(os.Getenv("TIERCEL_CHAOS_EVENTS")); err == nil && n > 0 {
		return n
	}
	return 600
}

const functionDocument = `apiVersion: tiercel.dev/v1alpha1
kind: Function
metadata: {name: mark}
spec:
  module: file:MODULE
  mode: enforce
  triggers: [{rules: ["Connection to a forbidden site"]}]
  grants:
    kubernetes: [{apiGroups: [""], resources: [configmaps], verbs: [create]}]
    reach: namespace
  limits: {concurrency: 8}
  retry: {attempts: 100, backoff: 500ms}
  maxAge: 2h
`

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, verbs: [create, update, patch, delete], resources: [{group: "", resources: [configmaps]}], namespaces: [shop]}
- {level: None}
`

// A stage is a cluster, a NATS server, two runtimes and the events for them.
type stage struct {
	t       *testing.T
	cluster *kubetest.Cluster
	client  *kubernetes.Clientset
	nats    *natsServer
	runners [2]*runner
	bus     *bus.Bus
	pods    []bus.Target
	audit   string
	n       int
}

func setUp(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, n: eventCount()}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "policy.yaml"), auditPolicy)
	s.audit = filepath.Join(dir, "audit.log")
	s.cluster = kubetest.Start(t, "--audit-policy-file="+filepath.Join(dir, "policy.yaml"), "--audit-log-path="+s.audit,
		"--audit-log-mode=blocking", "--audit-log-maxsize=4096")
	config, err := clientcmd.BuildConfigFromFlags("", s.cluster.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	s.client = kubernetes.NewForConfigOrDie(config)
	s.makePods()
	s.nats = startNATS(t)
	functionsDir := filepath.Join(dir, "functions")
	write(t, filepath.Join(functionsDir, "mark.yaml"), strings.ReplaceAll(functionDocument, "MODULE", module))
	write(t, filepath.Join(dir, "config.yaml"), "runtime: {lease: 2s, ackWait: 2s, sweep: 5s}\n")
	for i := range s.runners {
		name := fmt.Sprintf("runtime-%d", i)
		args := []string{
			"--config", filepath.Join(dir, "config.yaml"), "--nats", s.nats.url, "--kubeconfig", s.cluster.Kubeconfig,
			"--rules", filepath.Join(kubetest.Root(), "samples", "scenarios", "exfiltration", "rules.yaml"),
			"--data", filepath.Join(dir, name), "--http", "", "--node", name, "--log-level", "warn",
		}
		if i == 0 {
			args = append(args, "--functions", functionsDir)
		}
		s.runners[i] = startRunner(t, name, args...)
	}
	if s.bus, err = bus.Connect(t.Context(), s.natsConfig()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.bus.Close)
	s.waitForConsumer()
	return s
}

func (s *stage) natsConfig() bus.Config {
	cfg := bus.DefaultConfig()
	cfg.URL = s.nats.url
	return cfg
}

func (s *stage) makePods() {
	s.t.Helper()
	ctx := s.t.Context()
	if _, err := s.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.client.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	for i := range podCount {
		pod, err := s.client.CoreV1().Pods(namespace).Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", i)},
			Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "web"}}},
		}, metav1.CreateOptions{})
		if err != nil {
			s.t.Fatal(err)
		}
		s.pods = append(s.pods, bus.Target{Cluster: "default", Node: node, Namespace: namespace, Pod: pod.Name, PodUID: string(pod.UID)})
	}
}

// waitForConsumer waits until the function is deployed and takes events: what is published before that is not its business.
func (s *stage) waitForConsumer() {
	s.t.Helper()
	kubetest.Eventually(s.t, 60*time.Second, "the function has a consumer", func() bool {
		stream, err := s.bus.JetStream().Stream(s.t.Context(), bus.StreamEvents)
		if err != nil {
			return false
		}
		names := stream.ConsumerNames(s.t.Context())
		for range names.Name() {
			return true
		}
		return false
	})
}

func eventID(i int) string { return fmt.Sprintf("%s-%026d", node, i) }

// publish sends the events [from, to) and returns when they are stored.
func (s *stage) publish(from, to int) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	p := bus.NewPublisher(s.bus, bus.DefaultPublisherConfig())
	var running sync.WaitGroup
	running.Go(func() { _ = p.Run(ctx) })
	for i := from; i < to; i++ {
		target := s.pods[i%len(s.pods)]
		m := &bus.MatchData{
			Output: "x", OutputFields: json.RawMessage("{}"), Priority: "Warning", Rule: rule, Source: "syscall",
			Time: time.Now(), Fields: json.RawMessage("{}"), Target: target, Hostname: node,
		}
		e := &bus.Event{
			ID: eventID(i), Source: bus.SourceURI("default", node, "syscall"), Type: bus.TypeRuleMatched,
			Subject: namespace + "/" + target.Pod, Time: m.Time, Rule: rule, Priority: m.Priority, EventSource: m.Source, Hostname: node, Data: m.AppendJSON(nil),
		}
		if err := p.Publish(bus.EventSubject("syscall", "Warning", rule, namespace, node), e); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := p.Drain(ctx); err != nil {
		s.t.Fatal(err)
	}
	cancel()
	running.Wait()
}

// sealed returns the sealed actions by event id.
func (s *stage) sealed(ctx context.Context) (map[string][]journal.Action, error) {
	stream, err := s.bus.JetStream().Stream(ctx, bus.StreamActions)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx)
	if err != nil || info.State.Msgs == 0 {
		return nil, err
	}
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return nil, err
	}
	it, err := cons.Messages()
	if err != nil {
		return nil, err
	}
	defer it.Stop()
	all := map[string][]journal.Action{}
	for range info.State.Msgs {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, err
		}
		var a journal.Action
		if err := json.Unmarshal(msg.Data(), &a); err != nil {
			return nil, fmt.Errorf("%s: %w", msg.Subject(), err)
		}
		if a.Outcome != journal.Pending { // otherwise taken over, not sealed
			all[a.Event.ID] = append(all[a.Event.ID], a)
		}
	}
	return all, nil
}

// count is how many messages a stream holds, -1 while that cannot be known.
func (s *stage) count(name string) int {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	stream, err := s.bus.JetStream().Stream(ctx, name)
	if err != nil {
		return -1
	}
	n := int(stream.CachedInfo().State.Msgs)
	if name != bus.StreamActions {
		return n
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter("tiercel.actions.*.*.pending")) // taken over, not sealed
	if err != nil {
		return -1
	}
	for _, taken := range info.State.Subjects {
		n -= int(taken)
	}
	return n
}

// feed publishes the events [from, to) a few at a time until the process is up and at work, and then the rest at once.
func (s *stage) feed(r *runner, from, to int) {
	s.t.Helper()
	few := max(1, (to-from)/40)
	for ; from+few < to && !s.atWork(r); from += few {
		s.publish(from, from+few)
		pause(100 * time.Millisecond)
	}
	s.publish(from, to)
}

// atWork reports whether the process sealed the last action.
func (s *stage) atWork(r *runner) bool {
	mark := fmt.Sprintf("-%d-", r.process().Process.Pid) // of the runtime's name in its claims
	stream, err := s.bus.JetStream().Stream(s.t.Context(), bus.StreamActions)
	if err != nil {
		return false
	}
	msg, err := stream.GetMsg(s.t.Context(), stream.CachedInfo().State.LastSeq)
	return err == nil && strings.Contains(string(msg.Data), mark)
}

// settle waits until every event has a sealed action.
func (s *stage) settle(limit time.Duration) {
	s.t.Helper()
	kubetest.Eventually(s.t, limit, "every event has a sealed action", func() bool { return s.count(bus.StreamActions) >= s.n })
}

// check holds what happened against the promise.
func (s *stage) check() {
	s.t.Helper()
	actions, err := s.sealed(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	intents, outcomes, attempts := s.checkActions(actions)
	created := s.checkObjects(intents)
	s.checkAudit(created)
	s.t.Logf("%d events, outcomes %v, %d attempts, %d objects, %d dead letters", s.n, outcomes, attempts, len(created), s.count(bus.StreamDeadLetter))
}

// checkActions returns the effects that have an intent.
func (s *stage) checkActions(actions map[string][]journal.Action) (intents map[string]bool, outcomes map[journal.Outcome]int, attempts int) {
	s.t.Helper()
	intents, outcomes = map[string]bool{}, map[journal.Outcome]int{}
	for i := range s.n {
		id := eventID(i)
		if n := len(actions[id]); n != 1 {
			s.t.Errorf("event %s has %d sealed actions", id, n)
			continue
		}
		a := actions[id][0]
		outcomes[a.Outcome]++
		attempts += len(a.Attempts)
		if a.Outcome != "succeeded" {
			s.t.Errorf("event %s ended as %s: %+v", id, a.Outcome, a.End)
		}
		for _, c := range a.Calls {
			if c.Effect != "" && c.Prepared != nil && c.Prepared.Write {
				intents[c.Effect] = true
			}
		}
	}
	if len(actions) != s.n {
		s.t.Errorf("%d events have actions, want %d", len(actions), s.n)
	}
	return intents, outcomes, attempts
}

// checkObjects returns the names of the objects, one for each event, each of an effect that was intended.
func (s *stage) checkObjects(intents map[string]bool) map[string]bool {
	s.t.Helper()
	created, events, effects := map[string]bool{}, map[string]int{}, map[string]int{}
	opts := metav1.ListOptions{Limit: 2000}
	for {
		list, err := s.client.CoreV1().ConfigMaps(namespace).List(s.t.Context(), opts)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, m := range list.Items {
			if m.Labels["event"] == "" {
				continue // kube-root-ca.crt
			}
			created[m.Name] = true
			events[m.Labels["event"]]++
			for k, effect := range m.Annotations {
				if strings.HasPrefix(k, "effect.tiercel.dev/") {
					effects[effect]++
				}
			}
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			break
		}
	}
	for i := range s.n {
		if n := events[eventID(i)]; n != 1 {
			s.t.Errorf("event %s has %d objects", eventID(i), n)
		}
	}
	for effect, n := range effects {
		if n != 1 || !intents[effect] {
			s.t.Errorf("effect %s: %d objects, intended %v", effect, n, intents[effect])
		}
	}
	if len(effects) != len(created) {
		s.t.Errorf("%d objects have %d effects", len(created), len(effects))
	}
	return created
}

// checkAudit makes sure that the API server has not accepted two writes of an object.
func (s *stage) checkAudit(created map[string]bool) {
	s.t.Helper()
	f, err := os.ReadFile(s.audit)
	if err != nil {
		s.t.Fatal(err)
	}
	writes, refused := map[string]int{}, 0
	for line := range strings.Lines(string(f)) {
		var e struct {
			Verb           string
			ObjectRef      struct{ Name string }
			ResponseStatus struct{ Code int }
			User           struct{ Username string }
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			continue // the last line of an API server that was killed
		}
		if !strings.HasPrefix(e.User.Username, "system:serviceaccount:tiercel:") {
			continue
		}
		if e.ResponseStatus.Code/100 == 2 {
			writes[e.ObjectRef.Name]++
		} else {
			refused++
		}
	}
	for name, n := range writes {
		if n != 1 || !created[name] {
			s.t.Errorf("%s was written %d times; there: %v", name, n, created[name])
		}
	}
	// A write whose client died before the answer is logged as failed though it was stored: the repetition finds it there.
	if cut := len(created) - len(writes); cut < 0 || cut > refused {
		s.t.Errorf("%d objects are there, %d were written, %d writes were refused", len(created), len(writes), refused)
	}
	s.t.Logf("the API server refused %d repetitions, %d writes lost their answer", refused, len(created)-len(writes))
}

// pause waits; chaos has its own clock.
func pause(d time.Duration) { <-time.After(d) }

// One of two runtimes is killed ten times and stopped three times for longer than its lease.
func TestRuntimesDie(t *testing.T) {
	s := setUp(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	victim := s.runners[1]
	started := time.Now()
	// Each blow has a share of the events, and falls while the victim is at work on it.
	const kills, stops = 10, 3
	blows := make([]bool, kills+stops) // true: a stop
	for i := range stops {
		blows[(i+1)*len(blows)/(stops+1)] = true
	}
	for i, stop := range blows {
		s.feed(victim, s.n*i/len(blows), s.n*(i+1)/len(blows))
		pause(time.Duration(rnd.IntN(30)) * time.Millisecond)
		if stop {
			victim.signal(syscall.SIGSTOP)
			pause(5 * time.Second) // leases last two
			victim.signal(syscall.SIGCONT)
			continue
		}
		if err := victim.die(); err != nil {
			t.Fatal(err)
		}
	}
	s.settle(10 * time.Minute)
	took := time.Since(started)
	s.check()
	t.Logf("%d kills, %d stops, %.0f events/s", kills, stops, float64(s.n)/took.Seconds())
}

// The API server is away for half a minute.
func TestServerAway(t *testing.T) {
	s := setUp(t)
	s.publish(0, s.n/2)
	kubetest.Eventually(t, time.Minute, "some events are done", func() bool { return s.count(bus.StreamActions) >= s.n/20 })
	s.cluster.Kill()
	s.publish(s.n/2, s.n)
	pause(30 * time.Second)
	if err := s.cluster.Restart(); err != nil {
		t.Fatal(err)
	}
	s.settle(10 * time.Minute)
	s.check()
}

// NATS is killed in the middle of it and comes back.
func TestNATSRestarts(t *testing.T) {
	s := setUp(t)
	s.publish(0, s.n)
	for i := range 3 {
		share := s.n * (i + 1) / 5
		kubetest.Eventually(t, 5*time.Minute, fmt.Sprintf("%d events are done", share), func() bool { return s.count(bus.StreamActions) >= share })
		s.nats.kill()
		pause(time.Second)
		s.nats.start(t)
	}
	s.settle(10 * time.Minute)
	s.check()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
