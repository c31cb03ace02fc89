package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// pack makes a module of a source in JavaScript.
func pack(t testing.TB, e *sandbox.Engine, file, source string) *sandbox.Module {
	t.Helper()
	p, err := e.Pack(t.Context(), file, []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, e, p.Module)
}

func sampleEvent(t testing.TB) []byte {
	t.Helper()
	ev, err := os.ReadFile(filepath.Join("..", "..", "functions", "testdata", "event.json"))
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

// A recorder answers by operation and keeps the requests.
type recorder struct {
	answers  map[string]string
	requests []string
}

func (r *recorder) Call(_ context.Context, op string, request []byte) ([]byte, error) {
	r.requests = append(r.requests, op+" "+string(request))
	answer, ok := r.answers[op]
	switch {
	case !ok:
		return nil, &abi.Error{Code: abi.CodeNotFound, Text: "no " + op, Retry: op == abi.OpHTTP}
	case strings.HasPrefix(answer, "!"):
		return nil, &abi.Error{Code: abi.Code(answer[1:]), Text: "it is so"}
	}
	return []byte(answer), nil
}

// handlerOf is a source whose handler has the body.
func handlerOf(body string) string {
	return "export default function (event, tiercel) {\n" + body + "\n}\n"
}

func TestJavaScriptOutcomes(t *testing.T) {
	e := newEngine(t, 2)
	ev := sampleEvent(t)
	for _, c := range []struct {
		name, source string
		want         abi.Result
		log          string // of the last line
	}{
		{"nothing", handlerOf(``), abi.Result{Outcome: "succeeded"}, ""},
		{"a value is no matter", handlerOf(`return {a: 1}`), abi.Result{Outcome: "succeeded"}, ""},
		{"skip", handlerOf(`return tiercel.skip("not mine")`), abi.Result{Outcome: "skipped", Text: "not mine"}, ""},
		{"skip thrown", handlerOf(`throw tiercel.skip("not mine")`), abi.Result{Outcome: "skipped", Text: "not mine"}, ""},
		{"ineffective", handlerOf(`return tiercel.ineffective("open")`), abi.Result{Outcome: "ineffective", Text: "open"}, ""},
		{"retry", handlerOf(`throw tiercel.retry("later")`), abi.Result{Outcome: "failed", Text: "later", Retry: true}, ""},
		{
			"report", handlerOf(`tiercel.report("a", [1, event.field("fd.sport")]); tiercel.report("b", event.field("nope") ?? null)`),
			abi.Result{Outcome: "succeeded", Data: []byte(`{"a":[1,443],"b":null}`)},
			"",
		},
		{
			"throw", "function f(x) {\n  return x.y.z;\n}\n" + handlerOf(`  f({});`),
			abi.Result{Outcome: "failed", Text: "TypeError: cannot read property 'z' of undefined (x.js:2:10)"},
			"    at default (x.js:5:3)",
		},
		{"throw a text", handlerOf(`throw "a text"`), abi.Result{Outcome: "failed", Text: "thrown: a text"}, "thrown: a text"},
		{"throw nothing", handlerOf(`throw undefined`), abi.Result{Outcome: "failed", Text: "thrown: undefined"}, "thrown: undefined"},
		{"throw what throws", handlerOf(`throw { toJSON() { throw 1 } }`), abi.Result{Outcome: "failed", Text: "thrown: a value that is not an Error"}, "thrown: a value that is not an Error"},
		{"an operation's error", handlerOf(`tiercel.kv.get("a")`), abi.Result{Outcome: "failed", Code: "not_found", Text: "no kv.get"}, ""},
		{"one that can be tried again", handlerOf(`tiercel.http("https://example.com/")`), abi.Result{Outcome: "failed", Code: "not_found", Text: "no http", Retry: true}, ""},
		{
			"caught", handlerOf(`try { tiercel.kv.get("a") } catch (e) { return tiercel.skip(e.code + e.retry + (e instanceof tiercel.Error) + e.name) }`),
			abi.Result{Outcome: "skipped", Text: "not_foundfalsetrueTiercelError"},
			"",
		},
		{
			"retry an operation", handlerOf(`try { tiercel.kv.get("a") } catch (e) { throw tiercel.retry(e) }`),
			abi.Result{Outcome: "failed", Code: "not_found", Text: "no kv.get", Retry: true},
			"",
		},
		{
			"async", "export default async (event, tiercel) => { await null; await 0; return tiercel.skip(event.rule) }",
			abi.Result{Outcome: "skipped", Text: "Connection to a forbidden site"},
			"",
		},
		{"async throws", "export default async () => {\n  await 1;\n  throw new RangeError('far');\n}", abi.Result{Outcome: "failed", Text: "RangeError: far (x.js:3:13)"}, "    at default (x.js:3:13)"},
		{"nobody waits", handlerOf(`Promise.reject(new Error("alone"))`), abi.Result{Outcome: "failed", Text: "Error: alone (x.js:2:20)"}, "    at default (x.js:2:20)"},
		{"somebody waits", handlerOf(`const p = Promise.reject(new Error("heard")); p.catch(() => {})`), abi.Result{Outcome: "succeeded"}, ""},
		{"waits for ever", handlerOf(`return new Promise(() => {})`), abi.Result{Outcome: "failed", Text: "Error: the function waits for a promise that nothing will settle"}, ""},
		{"cyclic report", handlerOf(`const a = {}; a.a = a; tiercel.report("a", a)`), abi.Result{Outcome: "failed", Text: "TypeError: circular reference"}, ""},
		{"top-level await", "const x = await Promise.resolve('late');\nexport default () => tiercel.skip(x)", abi.Result{Outcome: "skipped", Text: "late"}, ""},
		{"no pod", handlerOf(`event.data.target = {}; event.pod.label("a", "b")`), abi.Result{Outcome: "skipped", Text: "the event is not about a pod, or its pod was not known"}, ""},
		{"cause", handlerOf(`throw new Error("outer", {cause: new Error("inner")})`), abi.Result{Outcome: "failed", Text: "Error: outer (x.js:2:38)"}, "    at default (x.js:2:38)"},
		{"typed", "x", abi.Result{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := "x.js"
			if c.name == "typed" {
				file = "x.ts"
				c.source = "interface A {\n  b: string\n}\n\nexport default function (event: { id: string }): void {\n  const a: A = { b: event.id };\n  if (a.b) throw new Error(a.b);\n}\n"
				c.want = abi.Result{Outcome: "failed", Text: "Error: node-7-01JD8Y4J9Q6W0V7N3M5K2T8RXA (x.ts:7:28)"}
				c.log = "    at default (x.ts:7:28)"
			}
			m := pack(t, e, file, c.source)
			res, report, err := m.Handle(t.Context(), sandbox.Invocation{ID: "i", Event: ev, Time: time.Unix(1, 0)}, &recorder{})
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprintf("%+v", res) != fmt.Sprintf("%+v", c.want) {
				t.Errorf("got  %+v\nwant %+v\nlog %v", res, c.want, report.Log)
			}
			last := ""
			if n := len(report.Log); n > 0 {
				last = report.Log[n-1].Text
			}
			if c.log != "" && last != c.log {
				t.Errorf("log %v, want %q", report.Log, c.log)
			}
		})
	}
}

// Everything the SDK offers makes the request that functions/abi describes.
func TestJavaScriptOperations(t *testing.T) {
	e := newEngine(t, 2)
	answers := map[string]string{
		abi.OpKubernetesGet:    `{"object":{"metadata":{"uid":"0b6f1d1c-58f6-4d0e-9a43-6a8d6f8e2a11"}},"text":"a line"}`,
		abi.OpKubernetesList:   `{"items":[{"n":1},{"n":2}]}`,
		abi.OpKubernetesCreate: `{"object":{"kind":"K"}}`,
		abi.OpKubernetesPatch:  `{"object":{"kind":"P"}}`,
		abi.OpKubernetesDelete: `{"uid":"u"}`,
		abi.OpHTTP:             `{"status":201,"headers":{"location":"x"},"body":"{\"a\":1}"}`,
		abi.OpKVGet:            `{"value":"v","revision":3}`,
		abi.OpKVPut:            `{"revision":4}`,
		abi.OpKVDelete:         `{}`,
		abi.OpSecret:           `{"handle":"h-1"}`,
	}
	pod := `"namespace":"payments","name":"checkout-7d9c5b6f4-x2x9k"`
	uid := `"uid":"0b6f1d1c-58f6-4d0e-9a43-6a8d6f8e2a11"`
	for _, c := range []struct {
		body string
		want []string // requests
		out  string   // report of "r"
	}{
		{`event.pod.label("a/b", tiercel.labelValue("--A b/c!"))`, []string{`kubernetes.patch {"apiVersion":"v1","resource":"pods",` + pod + `,` + uid + `,"patch":{"metadata":{"labels":{"a/b":"A_b_c"}}}}`}, ""},
		{`event.pod.annotate("a", "b")`, []string{`kubernetes.patch {"apiVersion":"v1","resource":"pods",` + pod + `,` + uid + `,"patch":{"metadata":{"annotations":{"a":"b"}}}}`}, ""},
		{`event.pod.delete({graceSeconds: 0})`, []string{`kubernetes.delete {"apiVersion":"v1","resource":"pods",` + pod + `,` + uid + `,"gracePeriodSeconds":0}`}, ""},
		{`event.pod.evict({graceSeconds: 3})`, []string{`kubernetes.create {"apiVersion":"v1","resource":"pods","subresource":"eviction",` + pod + `,"object":{"apiVersion":"policy/v1","kind":"Eviction","deleteOptions":{"preconditions":{` + uid + `},"gracePeriodSeconds":3}}}`}, ""},
		{`tiercel.report("r", event.pod.logs({container: "c", tailLines: 5}))`, []string{`kubernetes.get {"apiVersion":"v1","resource":"pods","subresource":"log",` + pod + `,"log":{"container":"c","tailLines":5}}`}, `"a line"`},
		{`tiercel.report("r", event.pod.get().metadata.uid === event.pod.uid)`, []string{`kubernetes.get {"apiVersion":"v1","resource":"pods",` + pod + `}`}, `true`},
		{`tiercel.report("r", event.pod.owner())`, nil, `{"apiVersion":"v1","kind":"Pod","name":"checkout-7d9c5b6f4-x2x9k",` + uid + `}`},
		{
			`const l = event.pod.namespace.networkPolicies().list({labelSelector: "a=b", max: 2}); tiercel.report("r", [l.length, l[1].n, l.more])`,
			[]string{`kubernetes.list {"apiVersion":"networking.k8s.io/v1","resource":"networkpolicies","namespace":"payments","labelSelector":"a=b","limit":2}`},
			`[2,2,false]`,
		},
		{
			`tiercel.report("r", tiercel.kubernetes("apps/v1", "deployments").in("shop").patch("web", [{op: "remove", path: "/x"}], {type: "json", resourceVersion: "7"}).kind)`,
			[]string{`kubernetes.patch {"apiVersion":"apps/v1","resource":"deployments","namespace":"shop","name":"web","type":"json","resourceVersion":"7","patch":[{"op":"remove","path":"/x"}]}`},
			`"P"`,
		},
		{`tiercel.namespace("shop").resource("apps/v1", "deployments").get("web", {subresource: "scale"})`, []string{`kubernetes.get {"apiVersion":"apps/v1","resource":"deployments","subresource":"scale","namespace":"shop","name":"web"}`}, ""},
		{`tiercel.kubernetes("v1", "nodes").patch("n", {spec: {unschedulable: true}})`, []string{`kubernetes.patch {"apiVersion":"v1","resource":"nodes","name":"n","patch":{"spec":{"unschedulable":true}}}`}, ""},
		{`tiercel.report("r", tiercel.namespace("shop").networkPolicies().create({metadata: {generateName: "x-"}}))`, []string{`kubernetes.create {"apiVersion":"networking.k8s.io/v1","resource":"networkpolicies","namespace":"shop","object":{"metadata":{"generateName":"x-"}}}`}, `{"kind":"K"}`},
		{
			`const r = tiercel.postJSON("https://x/", {a: "é"}, {k: "v"}); tiercel.report("r", [r.ok, r.status, r.json().a, r.headers.location, r.truncated, r.dryRun])`,
			[]string{`http {"method":"POST","url":"https://x/","headers":{"content-type":"application/json","k":"v"},"body":"{\"a\":\"é\"}"}`},
			`[true,201,1,"x",false,false]`,
		},
		{`tiercel.http({method: "PUT", url: tiercel.secret("hook", "url"), body: {a: 1}})`, []string{`secret {"name":"hook","key":"url"}`, `http {"method":"PUT","url":"h-1","body":"{\"a\":1}"}`}, ""},
		{
			`tiercel.report("r", [tiercel.kv.get("k"), tiercel.kv.put("k", "v", {ttlSeconds: 9, revision: 3}), tiercel.kv.delete("k")])`,
			[]string{`kv.get {"key":"k"}`, `kv.put {"key":"k","value":"v","ttlSeconds":9,"revision":3}`, `kv.delete {"key":"k"}`},
			`[{"value":"v","revision":3},4,null]`,
		},
		{`tiercel.report("r", [tiercel.config.label, tiercel.invocation.id, tiercel.invocation.function]); tiercel.progress("half")`, nil, `["l","i","fn"]`},
		{`tiercel.report("r", [event.id, event.priority, event.tags, event.target.pid, event.output.length, event.pod.exists, event.pod === event.pod])`, nil, `["node-7-01JD8Y4J9Q6W0V7N3M5K2T8RXA","Warning",["network","mitre_exfiltration"],4242,167,true,true]`},
		{`tiercel.report("r", [event.text.length, event.text.includes("1795215521123456789"), JSON.parse(event.text).id === event.id])`, nil, `[1549,true,true]`},
	} {
		t.Run(c.body, func(t *testing.T) {
			m := pack(t, e, "x.js", handlerOf(c.body))
			host := &recorder{answers: answers}
			res, report, err := m.Handle(t.Context(), sandbox.Invocation{ID: "i", Function: "fn", Event: sampleEvent(t), Config: []byte(`{"label":"l"}`), Time: time.Unix(1, 0)}, host)
			if err != nil || res.Outcome != abi.OutcomeSucceeded {
				t.Fatalf("got %+v, %v, %v", res, report.Log, err)
			}
			if got, want := strings.Join(host.requests, "\n"), strings.Join(c.want, "\n"); got != want {
				t.Errorf("requests\ngot  %s\nwant %s", got, want)
			}
			if want := `{"r":` + c.out + `}`; c.out != "" && string(res.Data) != want {
				t.Errorf("data\ngot  %s\nwant %s", res.Data, want)
			}
		})
	}
}

func TestJavaScriptLog(t *testing.T) {
	e := newEngine(t, 1)
	m := pack(t, e, "x.js", handlerOf(`console.debug("d"); console.log("a", 1, {b: [null, undefined]}, undefined, null, 2n, Symbol("s"), [1]); console.warn("two\nlines"); console.error(new TypeError("t")); console.info(() => 1)`))
	_, report, err := m.Handle(t.Context(), sandbox.Invocation{Event: []byte(`{}`), Time: time.Unix(1, 0)}, &recorder{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range report.Log {
		got = append(got, fmt.Sprint(l.Level, " ", l.Text))
	}
	want := []string{`debug d`, `info a 1 {"b":[null,null]} undefined null 2 Symbol(s) [1]`, `warn two`, `warn lines`, `error TypeError: t`, `error     at default (x.js:2:151)`, `info () => 1`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The same invocation comes to the same, a different one has other random numbers, and the clock is the event's.
func TestJavaScriptDeterminism(t *testing.T) {
	e := newEngine(t, 2)
	m := pack(t, e, "x.js", `const loaded = [Math.random(), Date.now()];
`+handlerOf(`tiercel.report("r", [Math.random(), Math.random(), Date.now(), new Date().toISOString(), new Date(2026, 0, 1).getTimezoneOffset(), loaded, [..."x".repeat(9)].map(Math.random).every((x) => x >= 0 && x < 1), typeof performance])`))
	run := func(seed byte) (string, int64) {
		res, report, err := m.Handle(t.Context(), sandbox.Invocation{Event: sampleEvent(t), Time: time.Unix(1795215521, 5e8), Seed: [32]byte{seed}}, &recorder{})
		if err != nil || res.Outcome != abi.OutcomeSucceeded {
			t.Fatal(res, err)
		}
		return string(res.Data), report.Fuel
	}
	first, fuel := run(1)
	if !strings.Contains(first, `,1795215521500,"2026-11-20T22:58:41.500Z",0,`) || !strings.HasSuffix(first, `,1000],true,"undefined"]}`) {
		t.Errorf("got %s", first)
	}
	for range 3 {
		if again, f := run(1); again != first || f != fuel {
			t.Errorf("got %s and %d steps, then %s and %d", first, fuel, again, f)
		}
	}
	if other, _ := run(2); other[:30] == first[:30] {
		t.Errorf("another invocation has the random numbers of the first: %s", other)
	}
}

// A source comes to the same state whenever it is loaded: fuel and addresses are part of what a replay finds.
func TestJavaScriptSealsTheSame(t *testing.T) {
	var image string
	for range 4 {
		m := pack(t, newEngine(t, 1), "x.js", handlerOf(``))
		if image == "" {
			image = m.Image()
		}
		if got := m.Image(); got != image {
			t.Errorf("sealed as %s, and as %s", image, got)
		}
	}
}

// What a handler does to the engine's own objects, to the SDK and to its globals is gone with the event, and breaks nothing of the host's.
func TestJavaScriptLeavesNothing(t *testing.T) {
	e := newEngine(t, 1)
	m := pack(t, e, "x.js", `let calls = 0;
const kept = [];
`+handlerOf(`
  const found = [calls++, kept.length, ({}).polluted, [].polluted, globalThis.leak, JSON.parse === evil, tiercel.mine, event.pod.mine, event.leak, typeof tiercel.kv];
  kept.push(event.id);
  Object.prototype.polluted = event.id;
  Array.prototype.polluted = event.id;
  Array.prototype.push = Array.prototype.includes = String.prototype.split = () => { throw new Error("tampered") };
  Object.prototype.toJSON = undefined;
  globalThis.leak = event.id;
  JSON.parse = JSON.stringify = evil;
  Error = Promise = Reflect = undefined;
  Object.prototype.then = undefined;
  event.__proto__.leak = event.id;
  event.pod.__proto__.mine = 1;
  tiercel.mine = event.id;
  delete tiercel.kv;
  globalThis.Math.random = evil;
  globalThis.console = undefined;
  tiercel.report("r", found);`)+`
function evil() { return "evil" }
`)
	for i := range 50 {
		ev := fmt.Appendf(nil, `{"id":"%d","data":{"target":{"namespace":"n","pod":"p","podUID":"u"}}}`, i)
		res, report, err := m.Handle(t.Context(), sandbox.Invocation{Event: ev, Time: time.Unix(1, 0)}, &recorder{})
		if want := `{"r":[0,0,null,null,null,false,null,null,null,"object"]`; err != nil || !strings.HasPrefix(string(res.Data), want) {
			t.Fatalf("event %d: got %s, %+v, %v, %v; want %s", i, res.Data, res, report.Log, err, want)
		}
	}
}

// A hostile function ends its own invocation and nothing else.
func TestJavaScriptHostile(t *testing.T) {
	e := newEngine(t, 2)
	good := pack(t, e, "good.js", handlerOf(`return tiercel.skip("still here")`))
	limits := sandbox.Limits{Timeout: 300 * time.Millisecond, Memory: 16 << 20, Output: 64 << 10, Log: 4 << 10, Calls: 10}
	for _, c := range []struct {
		name, body string
		fault      sandbox.Kind // "": it fails by itself
		text       string       // in the fault or the result
	}{
		{"infinite loop", `for (;;) {}`, sandbox.FaultDeadline, ""},
		{"infinite loop of promises", `(async () => { for (;;) await 0 })()`, sandbox.FaultDeadline, ""},
		{"caught for ever", `for (;;) try { for (;;) {} } catch {} finally { continue }`, sandbox.FaultDeadline, ""},
		{"backtracking", `/^(a+)+$/.test("a".repeat(40) + "b")`, sandbox.FaultDeadline, ""},
		{"memory bomb", `const a = []; for (;;) a.push(new Array(1000).fill(0))`, sandbox.FaultMemory, ""},
		{"one large string", `"x".repeat(1 << 29)`, sandbox.FaultMemory, ""},
		{"doubling string", `let s = "x"; for (;;) s += s + 1`, "", "string too long"},
		{"huge buffer", `new ArrayBuffer(0x7fffffff)`, sandbox.FaultMemory, ""},
		{"recursion", `(function f() { f() })()`, "", "RangeError: Maximum call stack size exceeded"},
		{"recursion through the host", `const f = () => { try { f() } catch { tiercel.kv.get("x") } }; f()`, sandbox.FaultCalls, ""},
		{"recursion of getters", `const o = { get a() { return this.a } }; o.a`, "", "RangeError: Maximum call stack size exceeded"},
		{"recursion of proxies", `let p = {}; for (let i = 0; i < 1e4; i++) p = new Proxy(p, {}); p.a`, "", "RangeError: Maximum call stack size exceeded"},
		{"nested JSON", `JSON.parse("[".repeat(500000))`, "", ""},
		{"nested JSON out", `let a = []; for (let i = 0; i < 1e4; i++) a = [a]; JSON.stringify(a)`, "", ""},
		{"nested source", `eval("(".repeat(300000))`, "", ""},
		{"nested regular expression", `new RegExp("(".repeat(100000) + ")".repeat(100000))`, "", ""},
		{"large log", `for (let i = 0; i < 100; i++) console.log("x".repeat(1000))`, "", ""},
		{"huge log", `for (;;) console.log("x".repeat(1000))`, sandbox.FaultLog, ""},
		{"huge line", `console.log("x".repeat(1 << 22))`, "", ""},
		{"huge result", `tiercel.report("a", "x".repeat(1 << 20))`, sandbox.FaultOutput, ""},
		{"call flood", `for (;;) try { tiercel.kv.get("x") } catch {}`, sandbox.FaultCalls, ""},
		{"huge request", `tiercel.kv.put("x", "y".repeat(2 << 20))`, "", "too_large"},
		{"sort that lies", `[3, 1, 2].sort(() => Math.random() - 0.5); throw new Error("fine")`, "", "Error: fine"},
		{"evil eval", `eval("for(;;);")`, sandbox.FaultDeadline, ""},
		{"evil constructor", `new Function("for(;;);")()`, sandbox.FaultDeadline, ""},
		{"evil toString", `throw Object.assign(new Error(), { get message() { for (;;) {} } })`, sandbox.FaultDeadline, ""},
		{"evil stack", `const e = new Error("x"); Object.defineProperty(e, "stack", { get() { throw e } }); throw e`, "", "Error: x"},
		{"evil thenable", `return { then() { for (;;) {} } }`, sandbox.FaultDeadline, ""},
		{"endless jobs", `const f = () => Promise.resolve().then(f); f()`, sandbox.FaultDeadline, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := pack(t, e, "x.js", handlerOf(c.body))
			inv := sandbox.Invocation{Event: sampleEvent(t), Time: time.Unix(1, 0), Limits: limits}
			if c.fault != sandbox.FaultDeadline {
				inv.Limits.Timeout = time.Minute // the limit that is meant is met long before
			}
			began := time.Now()
			res, report, err := m.Handle(t.Context(), inv, &recorder{})
			fault, isFault := errors.AsType[*sandbox.Fault](err)
			switch {
			case c.fault != "" && (!isFault || fault.Kind != c.fault):
				t.Errorf("got %v, %+v, want the fault %s", err, res, c.fault)
			case c.fault == "" && err != nil:
				t.Errorf("got %v", err)
			case c.fault == "" && c.text != "" && !strings.Contains(res.Text+string(res.Code), c.text):
				t.Errorf("got %+v, want %q", res, c.text)
			}
			logged := 0
			for _, l := range report.Log {
				logged += len(l.Text)
			}
			if logged > limits.Log {
				t.Errorf("%d bytes were logged", logged)
			}
			if took := time.Since(began); took > 2*time.Minute {
				t.Errorf("it took %v", took)
			}
			patient := inv
			patient.Limits.Timeout = time.Minute
			if res, _, err := good.Handle(t.Context(), patient, &recorder{}); err != nil || res.Text != "still here" {
				t.Errorf("another function afterwards: %+v, %v", res, err)
			}
			small := inv
			small.Event = []byte(`{}`)
			if _, _, err := m.Handle(t.Context(), small, &recorder{}); (err == nil) != (c.fault == "") {
				t.Errorf("the same again: %v", err)
			}
		})
	}
}

// Requests and results that the SDK writes by hand are those that JSON.stringify writes.
func TestJavaScriptJSON(t *testing.T) {
	m := pack(t, newEngine(t, 1), "x.js", handlerOf(`
  const s = event.data.value;
  const want = (request) => tiercel.call("want", request);
  const pods = tiercel.kubernetes("v1", "pods").in(s);
  pods.get(s, { subresource: s });
  want({ apiVersion: "v1", resource: "pods", subresource: s, namespace: s, name: s });
  pods.list({ labelSelector: s, fieldSelector: s, max: 5 });
  want({ apiVersion: "v1", resource: "pods", namespace: s, labelSelector: s, fieldSelector: s, limit: 5 });
  pods.create({ [s]: s }, { name: s });
  want({ apiVersion: "v1", resource: "pods", namespace: s, name: s, object: { [s]: s } });
  pods.patch(s, [{ s }], { type: "json", uid: s, resourceVersion: undefined });
  want({ apiVersion: "v1", resource: "pods", namespace: s, name: s, type: "json", uid: s, patch: [{ s }] });
  pods.delete(s, { uid: s, graceSeconds: 0 });
  want({ apiVersion: "v1", resource: "pods", namespace: s, name: s, uid: s, gracePeriodSeconds: 0 });
  event.pod.label(s, s);
  want({ apiVersion: "v1", resource: "pods", namespace: "n", name: "p", uid: "u", patch: { metadata: { labels: { [s]: s } } } });
  event.pod.annotate(s, undefined);
  want({ apiVersion: "v1", resource: "pods", namespace: "n", name: "p", uid: "u", patch: { metadata: { annotations: {} } } });
  event.pod.logs({ container: s, tailLines: 3 });
  want({ apiVersion: "v1", resource: "pods", subresource: "log", namespace: "n", name: "p", log: { container: s, tailLines: 3 } });
  tiercel.report("value", s);
  tiercel.report("none", undefined);
  tiercel.report("nested", { s: [s] });
  tiercel.artifact("want", JSON.stringify({ value: s, none: undefined, nested: { s: [s] } }));
  return tiercel.skip("a" + s);`))
	const text = `"a \"quoted\" text \\ \u0001\u007f\n \u00e9 \u2028 \ud7ff \ud83d\ude00"`
	for _, value := range []string{
		`""`, `"a"`, text, `"\ud800"`, `"x\ude00y"`, `"` + strings.Repeat("long ", 8000) + `"`, `null`, `true`, `-1.5`, `[1,"a"]`, `{"b":null}`,
	} {
		r := &recorder{answers: map[string]string{
			"want": `{}`, abi.OpKubernetesGet: `{"object":{}}`, abi.OpKubernetesList: `{"items":[]}`, abi.OpKubernetesCreate: `{}`, abi.OpKubernetesPatch: `{}`,
			abi.OpKubernetesDelete: `{}`, abi.OpArtifactPut: `{"digest":"d"}`,
		}}
		ev := `{"data":{"value":` + value + `,"target":{"namespace":"n","pod":"p","podUID":"u"}}}`
		res, _, err := m.Handle(t.Context(), sandbox.Invocation{Event: []byte(ev), Time: time.Unix(1, 0), Limits: sandbox.Limits{Output: 1 << 20}}, r)
		if err != nil || res.Outcome != abi.OutcomeSkipped || len(r.requests) != 17 {
			t.Fatalf("%.40s: %+v, %v, requests %q", value, res, err, r.requests)
		}
		for i := 0; i < 16; i += 2 {
			op, got, _ := strings.Cut(r.requests[i], " ")
			if _, want, _ := strings.Cut(r.requests[i+1], " "); got != want {
				t.Errorf("%.40s: %s\n got %.300s\nwant %.300s", value, op, got, want)
			}
		}
		var artifact struct{ Text string }
		if err := json.Unmarshal([]byte(strings.TrimPrefix(r.requests[16], abi.OpArtifactPut+" ")), &artifact); err != nil {
			t.Fatal(err)
		}
		if string(res.Data) != artifact.Text {
			t.Errorf("%.40s: reported\n got %.300s\nwant %.300s", value, res.Data, artifact.Text)
		}
	}
}

// The value of a label is made of the text's bytes, as in the other SDKs.
func TestJavaScriptLabelValue(t *testing.T) {
	m := pack(t, newEngine(t, 1), "x.js", handlerOf(`return tiercel.skip("[" + tiercel.labelValue(event.data.value) + "]")`))
	for value, want := range map[string]string{
		`""`: "[]", `"..-"`: "[]", `"a"`: "[a]", `"9"`: "[9]", `" @[{/: "`: "[]", `"@Az[a{z/0:9"`: "[Az_a_z_0_9]", `"-_.a.b_c-d-_."`: "[a.b_c-d]",
		`"a\u00e9b"`: "[a__b]", `"a\u20acb"`: "[a___b]", `"a\ud83d\ude00b"`: "[a____b]", `443`: "[443]", `null`: "[null]",
		`"` + strings.Repeat("x", 70) + `"`: "[" + strings.Repeat("x", 63) + "]", `"` + strings.Repeat("x", 62) + `\u00e9y"`: "[" + strings.Repeat("x", 62) + "]",
	} {
		ev := `{"data":{"value":` + value + `}}`
		res, _, err := m.Handle(t.Context(), sandbox.Invocation{Event: []byte(ev), Time: time.Unix(1, 0)}, &recorder{})
		if err != nil || res.Text != want {
			t.Errorf("%s: got %+v, %v, want %s", value, res, err, want)
		}
	}
}

// What a source has wrong is said with its place.
func TestPackRefuses(t *testing.T) {
	e := newEngine(t, 1)
	for _, c := range []struct{ name, file, source, want string }{
		{"syntax", "x.js", "let a = 1;\nconst b = ;\n", "x.js:2:11: SyntaxError: unexpected token in expression: ';'"},
		{"syntax of TypeScript", "x.ts", "let a: number = 1;\nconst b: = 2;\n", "x.ts:2:10: SyntaxError: Unexpected \"=\""},
		{"unknown name", "x.js", "export default () => {};\n\nnothing();\n", "x.js:3:1: ReferenceError: nothing is not defined"},
		{"unknown name in TypeScript", "x.ts", "interface A {}\ntype B = A;\nexport default () => {};\n\nnothing();\n", "x.ts:5:1: ReferenceError: nothing is not defined"},
		{"no handler", "x.js", "export const a = 1", "x.js: TypeError: there is no `export default function (event, tiercel) { … }`"},
		{"import", "x.js", "\nimport fs from 'fs';\n", "x.js:2:16: ReferenceError: could not load module 'fs': a function is one file"},
		{"import in TypeScript", "x.ts", "type A = string;\nimport { b } from \"./b\";\nb();\n", "x.ts:2:19: ReferenceError: could not load module 'b': a function is one file"},
		{"operation", "x.js", "tiercel.kv.get('a');\nexport default () => {};\n", "x.js:1:11: TiercelError: operations cannot be called during initialisation"},
		{"endless", "x.js", "for (;;) {}", "its initialisation: deadline"},
		{"waits", "x.js", "await new Promise(() => {});\nexport default () => {}", "its top level waits for a promise that nothing will settle"},
		{"manifest", "x.js", "\nexport const manifest = { needs: { http: 'yes' } };\nexport default () => {}", "x.js:2: manifest: "},
		{"manifest's verbs", "x.js", "\nexport const manifest = { needs: { kubernetes: [{ apiGroups: [''], resources: ['pods'], verbs: ['steal'] }] } };\nexport default () => {}", `x.js:2: manifest: needs.kubernetes[0].verbs: "steal" is none of get, list, create, patch, delete`},
		{"manifest's kind", "x.js", "export const manifest = 3;\nexport default () => {}", "x.js:1: manifest: is not an object"},
		{"name", "Isolate_Pod.js", "export default () => {}", `manifest: name: "Isolate_Pod" is not a DNS label`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := e.Pack(t.Context(), "folder/"+c.file, []byte(c.source))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v\nwant %s", p, err, c.want)
			}
			if _, ok := errors.AsType[*sandbox.ModuleError](err); !ok {
				t.Errorf("%T is not a *ModuleError", err)
			}
		})
	}
}
