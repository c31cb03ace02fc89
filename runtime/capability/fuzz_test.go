package capability

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/bustest"
	"github.com/tiercel-project/tiercel/functions/abi"
)

const fuzzUID = "0b6f1d1c-58f6-4d0e-9a43-6a8d6f8e2a11"

// An api answers like an API server that has one pod, and fails the test when it is asked for anything outside of the event's namespace.
type api struct{ t testing.TB }

func (a api) RoundTrip(r *http.Request) (*http.Response, error) {
	body := `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}`
	code := http.StatusNotFound
	switch p := r.URL.Path; {
	case p == "/api/v1":
		code, body = http.StatusOK, `{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [
			{"name": "pods", "kind": "Pod", "namespaced": true}, {"name": "pods/log", "kind": "Pod", "namespaced": true},
			{"name": "pods/eviction", "kind": "Eviction", "namespaced": true}, {"name": "nodes", "kind": "Node"}, {"name": "configmaps", "kind": "ConfigMap", "namespaced": true}]}`
	case strings.HasPrefix(p, "/apis/") && strings.Count(p, "/") == 3, strings.HasPrefix(p, "/api/") && strings.Count(p, "/") == 2:
	case p == "/api/v1/namespaces/shop/pods/web-1":
		code, body = http.StatusOK, `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop", "uid": "`+fuzzUID+`", "resourceVersion": "7"},
			"spec": {"nodeName": "node-1", "containers": [{"name": "web"}]}}`
	case p == "/api/v1/namespaces/tiercel/serviceaccounts/f/token":
		code, body = http.StatusCreated, `{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "status": {"token": "t", "expirationTimestamp": "2099-01-01T00:00:00Z"}}`
	case path.Clean(p) == p && strings.HasPrefix(p, "/api/v1/namespaces/shop/"), path.Clean(p) == p && strings.HasPrefix(p, "/api/v1/nodes/node-1"),
		strings.HasPrefix(p, "/apis/") && strings.Contains(p, "/namespaces/shop/") && path.Clean(p) == p:
	default:
		a.t.Errorf("asked for %s %s", r.Method, r.URL)
	}
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}, nil
}

// fuzzGrants are wide: what narrows them is the reach.
var fuzzGrants = Grants{
	Kubernetes: []KubernetesGrant{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}},
	Exec:       []ExecGrant{{Commands: [][]string{{"cat", "/proc/net/tcp"}}}},
	HTTP:       []string{"http://127.0.0.1:9/hook/"}, KV: true, Artifacts: true,
}

// Whatever a guest asks of an operation, it is answered or refused; what is prepared is JSON, rehearses to an answer or an error, and nothing
// outside of the event's namespace is looked at.
func FuzzRequest(f *testing.F) {
	var ops []string
	for _, op := range abi.Operations {
		if op.Class != abi.ClassLocal {
			ops = append(ops, op.Name)
		}
	}
	ref := `"apiVersion":"v1","resource":"pods","name":"web-1"`
	for i, seed := range []string{
		`{"name":"hook","key":"url"}`, `{` + ref + `,"subresource":"log","log":{"tailLines":5}}`, `{"apiVersion":"v1","resource":"pods","labelSelector":"a=b","limit":3}`,
		`{` + ref + `,"subresource":"eviction","object":{"deleteOptions":{"preconditions":{"uid":"` + fuzzUID + `"}}}}`,
		`{` + ref + `,"type":"json","patch":[{"op":"add","path":"/metadata/labels","value":{}}],"uid":"` + fuzzUID + `"}`,
		`{` + ref + `,"uid":"` + fuzzUID + `","gracePeriodSeconds":0}`,
		`{"pod":"web-1","uid":"` + fuzzUID + `","command":["cat","/proc/net/tcp"]}`,
		`{"method":"POST","url":"http://127.0.0.1:9/hook/x","headers":{"a":"b"},"body":"c"}`,
		`{"key":"a/b"}`, `{"key":"a","value":"v","revision":0,"ttlSeconds":5}`, `{"key":"a","revision":3}`, `{"name":"a.log","text":"foo"}`,
	} {
		for n := range ops { // each seed for its own operation first
			f.Add(uint8((i+n)%len(ops)), []byte(seed))
		}
	}
	f.Add(uint8(1), []byte(`{"apiVersion":"v1","resource":"pods","namespace":"../..","name":"x/../../y"}`))
	f.Add(uint8(6), []byte(`{"pod":"web-1/../x","uid":"`+fuzzUID+`","container":"..","command":["cat","/proc/net/tcp"]}`))
	b := bustest.Start(f, bus.DefaultServerConfig())
	store, err := b.ObjectStore(f.Context(), bus.StoreArtifacts)
	if err != nil {
		f.Fatal(err)
	}
	kv, err := b.KeyValue(f.Context(), bus.BucketKV)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, which uint8, request []byte) {
		c, err := newCluster(ClusterConfig{}, &rest.Config{Host: "http://api", Transport: api{t}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := New(Config{Cluster: c, KV: kv, Artifacts: store})
		if err != nil {
			t.Fatal(err)
		}
		s := Scope{
			Function: Function{Name: "f", UID: "u"}, Grants: fuzzGrants, Mode: DryRun, Invocation: "i", Event: "e",
			Target: bus.Target{Node: "node-1", Namespace: "shop", Pod: "web-1", PodUID: fuzzUID},
		}
		op := ops[int(which)%len(ops)]
		p, err := r.Prepare(t.Context(), s, op, request)
		if (p == nil) == (err == nil) {
			t.Fatalf("%s: %+v, %v", op, p, err)
		}
		if err != nil {
			checkError(t, op, err)
			return
		}
		var again bytes.Buffer
		if err := json.Compact(&again, p.Canonical); err != nil || p.Write && (p.Class == "" || p.Inverse == nil) || p.Summary == "" && p.Write {
			t.Fatalf("%s: prepared %+v, %v", op, p, err)
		}
		if op == abi.OpHTTP && !p.Write {
			return // would be sent
		}
		if _, err := r.Execute(t.Context(), s, p, "e.1"); err != nil {
			checkError(t, op, err)
		}
	})
}

// checkError accepts what the caller knows what to do with.
func checkError(t *testing.T, op string, err error) {
	t.Helper()
	_, answer := errors.AsType[*abi.Error](err)
	_, transient := Transient(err)
	if !answer && !transient && !errors.Is(err, ErrForged) {
		t.Fatalf("%s: %v", op, err)
	}
}
