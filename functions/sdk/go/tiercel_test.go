//go:build !wasip1

package tiercel

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// A fake host answers operations by name and keeps what it was asked.
type fake struct {
	answers map[string]string // a response, or !code text
	calls   []string
	log     []string
}

func (f *fake) Call(op string, request []byte) ([]byte, error) {
	f.calls = append(f.calls, op+" "+string(request))
	answer, ok := f.answers[op]
	if !ok {
		answer = `{}`
	}
	if failure, bad := strings.CutPrefix(answer, "!"); bad {
		return nil, parseError(padded([]byte(failure)))
	}
	return []byte(answer), nil
}

func (f *fake) Log(level abi.Level, line string) { f.log = append(f.log, level.String()+" "+line) }

// with runs one event through a handler.
func with(t *testing.T, f *fake, event string, h func(Event) error) abi.Result {
	t.Helper()
	handler = nil
	if h != nil {
		Handle(h)
	}
	res, err := Run(f, []byte(event))
	if err != nil {
		t.Fatal(err)
	}
	return res
}

const podEvent = `{"id":"e-1","data":{"target":{"namespace":"shop","pod":"web-1","podUID":"u-1"}}}`

func TestOutcomes(t *testing.T) {
	conflict := &Error{Code: CodeConflict, Text: "changed"}
	for _, tt := range []struct {
		name  string
		event string
		h     func(Event) error
		want  abi.Result
	}{
		{"nothing", `{}`, func(Event) error { return nil }, abi.Result{Outcome: "succeeded"}},
		{"data", `{}`, func(Event) error { Report("n", 1); return nil }, abi.Result{Outcome: "succeeded", Data: abi.Raw(`{"n":1}`)}},
		{"error", `{}`, func(Event) error { return errors.New("no") }, abi.Result{Outcome: "failed", Text: "no"}},
		{"operation's error", `{}`, func(Event) error { return errors.Join(conflict) }, abi.Result{Outcome: "failed", Code: "conflict", Text: "changed"}},
		{"retry", `{}`, func(Event) error { return Retry(conflict) }, abi.Result{Outcome: "failed", Code: "conflict", Text: "changed", Retry: true}},
		{"retry of the error's own", `{}`, func(Event) error { return &Error{Code: CodeUnavailable, Text: "down", Retry: true} }, abi.Result{Outcome: "failed", Code: "unavailable", Text: "down", Retry: true}},
		{"retry of nothing", `{}`, func(Event) error { return Retry(nil) }, abi.Result{Outcome: "succeeded"}},
		{"skip", `{}`, func(Event) error { Report("n", 1); return Skip("not ours") }, abi.Result{Outcome: "skipped", Text: "not ours", Data: abi.Raw(`{"n":1}`)}},
		{"ineffective", `{}`, func(Event) error { return Ineffective("still open") }, abi.Result{Outcome: "ineffective", Text: "still open"}},
		{"no pod", `{}`, func(ev Event) error { return ev.Target.Pod().Label("a", "b") }, abi.Result{Outcome: "skipped", Text: ErrNoPod.Error()}},
		{"panic", `{}`, func(Event) error { panic("oh") }, abi.Result{Outcome: "failed", Text: "panic: oh"}},
		{"runtime panic", `{}`, func(ev Event) error { return errors.New(ev.Tags[3]) }, abi.Result{Outcome: "failed", Text: "panic: runtime error: index out of range [3] with length 0"}},
		{"odd panic", `{}`, func(Event) error { panic(3.5) }, abi.Result{Outcome: "failed", Text: "panic: a value that is neither text nor an error"}},
		{"unwritable data", `{}`, func(Event) error { Report("c", make(chan int)); return nil }, abi.Result{Outcome: "failed", Text: ErrValue.Error()}},
		{"no handler", `{}`, nil, abi.Result{Outcome: "failed", Text: "no handler: call tiercel.Handle in an init function"}},
		{"no event", `{`, func(Event) error { return nil }, abi.Result{Outcome: "failed", Text: "the event is not JSON"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, with(t, &fake{}, tt.event, tt.h)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEvent(t *testing.T) {
	text, err := os.ReadFile("../../testdata/event.json")
	if err != nil {
		t.Fatal(err)
	}
	var ev Event
	if err := ev.parse(text); err != nil {
		t.Fatal(err)
	}
	if ev.JSON.Raw() != strings.TrimSpace(string(text)) {
		t.Error("JSON is not the event")
	}
	for name, want := range map[string]string{"fd.sip": "203.0.113.10", "fd.sport": "443", "evt.time": "1795215521123456789", "no.such": ""} {
		if got := ev.Field(name).String(); got != want {
			t.Errorf("field %s: got %q, want %q", name, got, want)
		}
	}
	ev.JSON, ev.fields, ev.outputFields, ev.Output = Value{}, Value{}, Value{}, ev.Output[:10]
	want := Event{
		ID: "node-7-01JD8Y4J9Q6W0V7N3M5K2T8RXA", Source: "/prod/node-7/syscall", Type: "dev.tiercel.rule.matched.v1", Subject: "payments/checkout-7d9c5b6f4-x2x9k",
		Time: "2026-11-20T22:58:41.123456789Z", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Rule: "Connection to a forbidden site", Priority: "Warning",
		EventSource: "syscall", Hostname: "node-7", Output: "22:58:41.1", Tags: []string{"network", "mitre_exfiltration"},
		Target: Target{
			Cluster: "prod", Node: "node-7", Namespace: "payments", PodName: "checkout-7d9c5b6f4-x2x9k", PodUID: "0b6f1d1c-58f6-4d0e-9a43-6a8d6f8e2a11", Container: "checkout",
			ContainerID: "3f4c5a6b7d8e9f", Image: "registry.example.com/payments/checkout:v2.31.4", CgroupID: 18446744073709551000, PID: 4242, PIDStartTime: 123456789012,
		},
	}
	if diff := cmp.Diff(want, ev, cmp.AllowUnexported(Value{}, Event{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The requests of every function of the package.
func TestRequests(t *testing.T) {
	grace := int64(0)
	for _, tt := range []struct {
		name string
		do   func(Pod) error
		want []string
	}{
		{"label", func(p Pod) error { return p.Label("k", "v") }, []string{`kubernetes.patch {"apiVersion":"v1","name":"web-1","namespace":"shop","patch":{"metadata":{"labels":{"k":"v"}}},"resource":"pods","uid":"u-1"}`}},
		{"annotate", func(p Pod) error { return p.Annotate("k", "v") }, []string{`kubernetes.patch {"apiVersion":"v1","name":"web-1","namespace":"shop","patch":{"metadata":{"annotations":{"k":"v"}}},"resource":"pods","uid":"u-1"}`}},
		{"delete", func(p Pod) error { return p.Delete(DeleteOptions{GraceSeconds: &grace, Propagation: "Orphan"}) }, []string{`kubernetes.delete {"apiVersion":"v1","gracePeriodSeconds":0,"name":"web-1","namespace":"shop","propagation":"Orphan","resource":"pods","uid":"u-1"}`}},
		{"evict", func(p Pod) error { return p.Evict(nil) }, []string{`kubernetes.create {"apiVersion":"v1","name":"web-1","namespace":"shop","object":{"apiVersion":"policy/v1","deleteOptions":{"preconditions":{"uid":"u-1"}},"kind":"Eviction"},"resource":"pods","subresource":"eviction"}`}},
		{"logs", func(p Pod) error { _, err := p.Logs("app", 10); return err }, []string{`kubernetes.get {"apiVersion":"v1","log":{"container":"app","tailLines":10},"name":"web-1","namespace":"shop","resource":"pods","subresource":"log"}`}},
		{"create", func(p Pod) error { return p.Namespace().NetworkPolicies().Create(Object{"kind": "NetworkPolicy"}) }, []string{`kubernetes.create {"apiVersion":"networking.k8s.io/v1","namespace":"shop","object":{"kind":"NetworkPolicy"},"resource":"networkpolicies"}`}},
		{"cluster scope", func(Pod) error { _, err := Kubernetes("v1", "nodes").Get("n1"); return err }, []string{`kubernetes.get {"apiVersion":"v1","name":"n1","resource":"nodes"}`}},
		{"json patch", func(p Pod) error {
			_, err := p.Namespace().Resource("apps/v1", "deployments").PatchAs(PatchJSON, "d", "", List{Object{"op": "remove", "path": "/spec"}})
			return err
		}, []string{`kubernetes.patch {"apiVersion":"apps/v1","name":"d","namespace":"shop","patch":[{"op":"remove","path":"/spec"}],"resource":"deployments","type":"json"}`}},
		{"list", func(p Pod) error {
			_, _, err := p.Namespace().Pods().List(ListOptions{LabelSelector: "a=b", FieldSelector: "c=d", Max: 5})
			return err
		}, []string{`kubernetes.list {"apiVersion":"v1","fieldSelector":"c=d","labelSelector":"a=b","limit":5,"namespace":"shop","resource":"pods"}`}},
		{"kv", func(Pod) error {
			_, err1 := KVGet("k")
			_, err2 := KVPut("k", "v", 60)
			_, err3 := KVUpdate("k", "v", 0, 0)
			return errors.Join(err1, err2, err3, KVDelete("k"))
		}, []string{`kv.get {"key":"k"}`, `kv.put {"key":"k","ttlSeconds":60,"value":"v"}`, `kv.put {"key":"k","revision":0,"value":"v"}`, `kv.delete {"key":"k"}`}},
		{"http", func(Pod) error {
			_, err1 := Do(Request{URL: "https://x"})
			_, err2 := PostJSON("https://x", map[string]string{"a": "b"}, Object{"c": 1})
			return errors.Join(err1, err2)
		}, []string{`http {"method":"GET","url":"https://x"}`, `http {"body":"{\"c\":1}","headers":{"a":"b","content-type":"application/json"},"method":"POST","url":"https://x"}`}},
		{"secret", func(Pod) error { _, err := Secret("s", "k"); return err }, []string{`secret {"key":"k","name":"s"}`}},
		{"self", func(Pod) error {
			_ = InvocationID() + FunctionName()
			_ = Config()
			_ = Config()
			Progress("half")
			return nil
		}, []string{`invocation {}`, `config {}`, `outcome {"outcome":"succeeded","text":"half"}`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{answers: map[string]string{abi.OpInvocation: `{"id":"i","function":"f"}`}}
			if res := with(t, f, podEvent, func(ev Event) error { return tt.do(ev.Target.Pod()) }); res.Outcome != abi.OutcomeSucceeded {
				t.Errorf("%+v", res)
			}
			if diff := cmp.Diff(tt.want, f.calls); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestListFollowsPages(t *testing.T) {
	f := &fake{}
	pages := []string{`{"items":[{"n":1},{"n":2}],"continue":"next"}`, `{"items":[{"n":3}]}`}
	res := with(t, f, `{}`, func(Event) error {
		current.host.Host = pager{f, &pages}
		items, more, err := Kubernetes("v1", "pods").List(ListOptions{})
		Report("items", items)
		Report("more", more)
		return err
	})
	if want := `{"items":[{"n":1},{"n":2},{"n":3}],"more":false}`; string(res.Data) != want {
		t.Errorf("got %s, want %s", res.Data, want)
	}
	if len(f.calls) != 2 || !strings.Contains(f.calls[1], `"continue":"next"`) {
		t.Errorf("calls %q", f.calls)
	}
}

type pager struct {
	*fake
	pages *[]string
}

func (p pager) Call(op string, request []byte) ([]byte, error) {
	_, _ = p.fake.Call(op, request)
	page := (*p.pages)[0]
	*p.pages = (*p.pages)[1:]
	return []byte(page), nil
}

func TestErrors(t *testing.T) {
	f := &fake{answers: map[string]string{abi.OpKVGet: `!{"code":"denied","text":"not granted","retry":true}`, abi.OpKVPut: `!garbage`, abi.OpKVDelete: `garbage`}}
	with(t, f, podEvent, func(Event) error {
		_, err := KVGet("k")
		if diff := cmp.Diff(&Error{Code: CodeDenied, Text: "not granted", Retry: true}, err); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if _, err := KVPut("k", "v", 0); CodeOf(err) != CodeInternal {
			t.Errorf("an error that is not JSON: %v", err)
		}
		if err := KVDelete("k"); CodeOf(err) != CodeInternal {
			t.Errorf("a response that is not JSON: %v", err)
		}
		if _, err := Call("x", struct{}{}); !errors.Is(err, ErrValue) || CodeOf(err) != "" {
			t.Errorf("a request that cannot be written: %v", err)
		}
		return nil
	})
}

// A pod of the same name with another UID is not the event's.
func TestPodGetChecksUID(t *testing.T) {
	f := &fake{answers: map[string]string{abi.OpKubernetesGet: `{"object":{"metadata":{"uid":"u-2"}}}`}}
	res := with(t, f, podEvent, func(ev Event) error { _, err := ev.Target.Pod().Get(); return err })
	if res.Code != CodeNotFound {
		t.Errorf("%+v", res)
	}
}

func TestLog(t *testing.T) {
	f := &fake{}
	with(t, f, `{}`, func(Event) error {
		Log("a", 1, int64(2), uint64(3), true, errors.New("e"), parsed(`{"j":1}`), 1.5)
		Warn("w")
		return nil
	})
	if diff := cmp.Diff([]string{`info a 1 2 3 true e {"j":1} ?`, "warn w"}, f.log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLabelValue(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "Terminal shell in container": "Terminal_shell_in_container", "--x--": "x", "é": "", "": "", "a/b:c": "a_b_c",
		strings.Repeat("x", 62) + "..": strings.Repeat("x", 62),
	} {
		if got := LabelValue(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestHandleTwicePanics(t *testing.T) {
	handler = nil
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Handle(func(Event) error { return nil })
	Handle(func(Event) error { return nil })
}
