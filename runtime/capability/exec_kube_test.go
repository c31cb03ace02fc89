//go:build kube

package capability

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/test/kubetest"
)

// commands are grants of exec and of nothing else.
func commands(c ...[]string) Grants { return Grants{Exec: []ExecGrant{{Commands: c}}} }

func (b bench) command(t *testing.T, words ...string) abi.ExecRequest {
	cluster.Container(t, b.scope.Target.Namespace, "web-1", "c", "")
	return abi.ExecRequest{Pod: "web-1", UID: b.scope.Target.PodUID, Command: words}
}

func execAnswer(t *testing.T, res Result) abi.ExecResponse {
	t.Helper()
	var a abi.ExecResponse
	if err := json.Unmarshal(res.Response, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// A command runs in the container, with the rights of the grant and no other; its output and its exit code come back.
func TestExec(t *testing.T) {
	echo := []string{"sh", "-c", "echo out; echo err >&2; exit 3"}
	b := setUp(t, commands(echo, []string{"true"}))
	p := b.mustPrepare(t, abi.OpExec, b.command(t, echo...))
	if p.Class != Unconditional || p.Inverse.Reversible() || !strings.Contains(p.Summary, `web-1 (c): ["sh","-c"`) {
		t.Errorf("prepared %+v", p)
	}
	res := b.mustExecute(t, p, "e1")
	if got, want := execAnswer(t, res), (abi.ExecResponse{ExitCode: 3, Stdout: "out\n", Stderr: "err\n"}); got != want || res.Object != "pods/exec/"+b.scope.Target.Namespace+"/web-1" {
		t.Errorf("got %+v (%s), want %+v", got, res.Object, want)
	}
	if got := execAnswer(t, b.mustExecute(t, b.mustPrepare(t, abi.OpExec, b.command(t, "true")), "e2")); got != (abi.ExecResponse{}) {
		t.Errorf("true: %+v", got)
	}
	if _, _, err := b.Look(t.Context(), b.scope, p, "e1"); !errors.Is(err, ErrUnknown) {
		t.Errorf("look: %v", err)
	}
	b.scope.Grants.OnUnknown = "repeat"
	if done, _, err := b.Look(t.Context(), b.scope, p, "e1"); done || err != nil {
		t.Errorf("look, to be repeated: %v, %v", done, err)
	}
	for _, op := range []struct {
		name    string
		request any
	}{
		{abi.OpKubernetesCreate, abi.KubernetesCreate{KubernetesRef: abi.KubernetesRef{APIVersion: "v1", Resource: "pods", Subresource: "exec", Name: "web-1"}, Object: abi.Raw("{}")}},
		{abi.OpKubernetesGet, abi.KubernetesGet{KubernetesRef: abi.KubernetesRef{APIVersion: "v1", Resource: "pods", Subresource: "exec", Name: "web-1"}}},
	} {
		if _, err := b.Prepare(t.Context(), b.scope, op.name, mustJSON(op.request)); err == nil {
			t.Errorf("the grant of a command is one of %s too", op.name)
		}
	}
}

// Where no WebSocket gets through, SPDY does.
func TestExecOverSPDY(t *testing.T) {
	b := setUp(t, commands([]string{"echo", "hello"}))
	base := b.c.RESTConfig()
	transport, err := rest.TransportFor(&rest.Config{Host: base.Host, TLSClientConfig: rest.TLSClientConfig{CAData: base.CAData, CAFile: base.CAFile, NextProtos: []string{"http/1.1"}}})
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(base.Host)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			refused++
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	_, a, err := b.c.session(t.Context(), b.scope)
	if err != nil {
		t.Fatal(err)
	}
	a.cfg = rest.CopyConfig(a.cfg)
	a.cfg.Host, a.cfg.TLSClientConfig = server.URL, rest.TLSClientConfig{}
	if a.rest, err = rest.UnversionedRESTClientFor(withCodecs(a.cfg)); err != nil {
		t.Fatal(err)
	}
	p := b.mustPrepare(t, abi.OpExec, b.command(t, "echo", "hello"))
	if got := execAnswer(t, b.mustExecute(t, p, "e1")); got.Stdout != "hello\n" || refused == 0 {
		t.Errorf("got %+v after %d refusals", got, refused)
	}
}

func withCodecs(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.NegotiatedSerializer = codecs.WithoutConversion()
	return cfg
}

// Much output is cut, a command that does not end is left, one that cannot be started is said to be none.
func TestExecBounds(t *testing.T) {
	much := []string{"sh", "-c", "head -c 10000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero >&2"}
	token := []string{"echo", "token eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl!"}
	g := commands(much, token, []string{"no-such-program"})
	g.Exec[0].Timeout = ExecTimeout(time.Minute)
	g.Exec = append(g.Exec, ExecGrant{Commands: [][]string{{"sleep", "600"}}, Timeout: ExecTimeout(2 * time.Second)})
	b := setUp(t, g)
	got := execAnswer(t, b.mustExecute(t, b.mustPrepare(t, abi.OpExec, b.command(t, much...)), "e1"))
	if len(got.Stdout) != abi.MaxExecOutput || len(got.Stderr) != abi.MaxExecOutput || !got.Truncated {
		t.Errorf("%d and %d bytes, truncated %v", len(got.Stdout), len(got.Stderr), got.Truncated)
	}
	if got := execAnswer(t, b.mustExecute(t, b.mustPrepare(t, abi.OpExec, b.command(t, token...)), "e2")); got.Stdout != "token [redacted]!\n" {
		t.Errorf("a token: %q", got.Stdout)
	}
	_, err := b.Execute(t.Context(), b.scope, b.mustPrepare(t, abi.OpExec, b.command(t, "sleep", "600")), "e3")
	wantCode(t, err, abi.CodeTimeout)
	_, err = b.Execute(t.Context(), b.scope, b.mustPrepare(t, abi.OpExec, b.command(t, "no-such-program")), "e4")
	wantCode(t, err, abi.CodeInternal)
	if !strings.Contains(err.Error(), "no-such-program") {
		t.Error(err)
	}
	lease, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err = b.Execute(lease, b.scope, b.mustPrepare(t, abi.OpExec, b.command(t, "sleep", "600")), "e5")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the lease ended: %v", err) // the caller makes unknown of it
	}
}

// A rehearsal runs nothing, and says what would not run.
func TestExecDryRun(t *testing.T) {
	touch := []string{"touch", "made"}
	b := setUp(t, commands(touch, []string{"ls"}))
	dry := b
	dry.scope.Mode = DryRun
	res := dry.mustExecute(t, dry.mustPrepare(t, abi.OpExec, b.command(t, touch...)), "e1")
	if !res.Rehearsed || res.Note != "not run" || !execAnswer(t, res).DryRun {
		t.Errorf("rehearsed: %+v", res)
	}
	if got := execAnswer(t, b.mustExecute(t, b.mustPrepare(t, abi.OpExec, b.command(t, "ls")), "e2")); got.Stdout != "" {
		t.Errorf("the folder holds %q", got.Stdout)
	}
}

func TestExecRefused(t *testing.T) {
	list := []string{"ls", "-l", "/tmp"}
	b := setUp(t, commands(list))
	other := b.pod(t, "web-2", kubetest.Node)
	elsewhere := b.scope.Grants
	elsewhere.Exec = []ExecGrant{{Commands: [][]string{list}, Namespaces: []string{"shop"}}}
	labelled := b.scope.Grants
	labelled.Exec = []ExecGrant{{Commands: [][]string{list}, Selector: "app=db"}}
	sidecar := b.scope.Grants
	sidecar.Exec = []ExecGrant{{Commands: [][]string{list}, Containers: []string{"sidecar"}}}
	wide := b.scope.Grants
	wide.Reach = ReachCluster
	for name, tt := range map[string]struct {
		grants Grants
		change func(*abi.ExecRequest)
		code   abi.Code
		text   string
	}{
		"no grant":             {Grants{}, nil, abi.CodeDenied, `exec: [{commands: [["ls","-l","/tmp"]]}]`},
		"a word more":          {b.scope.Grants, func(q *abi.ExecRequest) { q.Command = append(q.Command, "/etc") }, abi.CodeDenied, `the nearest that is: ["ls","-l","/tmp"]`},
		"words in one":         {b.scope.Grants, func(q *abi.ExecRequest) { q.Command = []string{"ls -l /tmp"} }, abi.CodeDenied, "not granted"},
		"no command":           {b.scope.Grants, func(q *abi.ExecRequest) { q.Command = nil }, abi.CodeInvalid, "missing"},
		"no uid":               {b.scope.Grants, func(q *abi.ExecRequest) { q.UID = "" }, abi.CodeInvalid, "uid is missing"},
		"another uid":          {b.scope.Grants, func(q *abi.ExecRequest) { q.UID = "x" }, abi.CodeDenied, "the event's pod has uid"},
		"a path":               {b.scope.Grants, func(q *abi.ExecRequest) { q.Pod = "../web-1" }, abi.CodeInvalid, "may not contain"},
		"another pod":          {b.scope.Grants, func(q *abi.ExecRequest) { q.Pod, q.UID = "web-2", string(other.GetUID()) }, abi.CodeDenied, "outside reach target"},
		"an impostor":          {wide, func(q *abi.ExecRequest) { q.Pod = "web-2" }, abi.CodeNotFound, "another uid"},
		"no such container":    {b.scope.Grants, func(q *abi.ExecRequest) { q.Container = "d" }, abi.CodeNotFound, "it has c"},
		"another container":    {sidecar, nil, abi.CodeDenied, `not in container "c"`},
		"another namespace":    {elsewhere, nil, abi.CodeDenied, "is granted, but not in"},
		"without the label":    {labelled, nil, abi.CodeDenied, "app=db"},
		"protected":            {wide, func(q *abi.ExecRequest) { q.Namespace = "kube-system" }, abi.CodeDenied, "protected"},
		"a namespace too many": {b.scope.Grants, func(q *abi.ExecRequest) { q.Namespace = "other" }, abi.CodeDenied, "outside reach"},
	} {
		t.Run(name, func(t *testing.T) {
			q := b.command(t, list...)
			if tt.change != nil {
				tt.change(&q)
			}
			s := b.scope
			s.Grants = tt.grants
			_, err := b.Prepare(t.Context(), s, abi.OpExec, mustJSON(q))
			wantCode(t, err, tt.code)
			if !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v does not say %q", err, tt.text)
			}
		})
	}
	// Granted when it was prepared, and no longer when it is sent.
	p := b.mustPrepare(t, abi.OpExec, b.command(t, list...))
	s := b.scope
	s.Grants = Grants{}
	_, err := b.Execute(t.Context(), s, p, "e1")
	wantCode(t, err, abi.CodeDenied)
	// The host's own checks broken: the API server refuses what the function's account was not given.
	s.Grants = wide
	s.Function.Name = "other-" + s.Function.Name
	if err := b.c.Provision(t.Context(), s.Function, Grants{Kubernetes: []KubernetesGrant{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}}}}); err != nil {
		t.Fatal(err)
	}
	stranger := b
	stranger.scope = s
	stranger.settled(t)
	_, err = b.Execute(t.Context(), s, p, "e1")
	wantCode(t, err, abi.CodeForbidden)
}
