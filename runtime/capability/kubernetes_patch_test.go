package capability

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
)

// patches keeps what is sent as a patch.
type patches struct {
	api
	sent []string
}

func (p *patches) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPatch {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		var text strings.Builder
		if _, err := io.Copy(&text, body); err != nil {
			return nil, err
		}
		p.sent = append(p.sent, text.String())
	}
	return p.api.RoundTrip(r)
}

func TestJSONPatchReadsNothing(t *testing.T) {
	const note, env = `"path": "/metadata/annotations/x"`, `"/spec/containers/0/env/0/value"`
	for name, tt := range map[string]struct{ patch, sent, want string }{
		"plain": {
			`[{"op": "add", ` + note + `, "value": 12345678901234567890}, {"op": "replace", ` + note + `, "value": "n"}, {"op": "remove", ` + note + `}]`,
			`[{"op":"add","path":"/metadata/annotations/x","value":12345678901234567890},{"op":"replace","path":"/metadata/annotations/x","value":"n"},{"op":"remove","path":"/metadata/annotations/x"}]`, "",
		},
		"none":               {`[]`, `[]`, ""},
		"copy":               {`[{"op": "add", ` + note + `, "value": ""}, {"op": "copy", "from": ` + env + `, ` + note + `}]`, "", `patch[1]: op "copy" is none of add, remove, replace`},
		"move":               {`[{"op": "move", "from": ` + env + `, ` + note + `}]`, "", `patch[0]: op "move" is none of`},
		"test":               {`[{"op": "test", "path": ` + env + `, "value": "hunter2"}]`, "", `patch[0]: op "test" is none of`},
		"escaped":            {`[{"op": "c\u006fpy", "from": ` + env + `, ` + note + `}]`, "", `op "copy"`},
		"keys in upper case": {`[{"op": "copy", "OP": "add", "from": ` + env + `, ` + note + `}]`, "", `op "copy"`},
		"repeated key":       {`[{"op": "add", "op": "copy", "from": ` + env + `, ` + note + `}]`, "", `op "copy"`},
		"no op":              {`[{` + note + `}]`, "", `patch[0]: op "" is none of`},
		"op is no text":      {`[{"op": ["copy"]}]`, "", `patch[0]: op "" is none of`},
		"no operation":       {`[null]`, "", `patch[0]: op "" is none of`},
		"no list":            {`{"op": "copy"}`, "", "must be a list of operations"},
		"null":               {`null`, "", "must be a list of operations"},
	} {
		t.Run(name, func(t *testing.T) {
			server := &patches{api: api{t}}
			c, err := newCluster(ClusterConfig{Identity: Impersonate}, &rest.Config{Host: "http://api", Transport: server})
			if err != nil {
				t.Fatal(err)
			}
			r, err := New(Config{Cluster: c})
			if err != nil {
				t.Fatal(err)
			}
			s := Scope{
				Function: Function{Name: "f", UID: "u"}, Mode: DryRun, Invocation: "i",
				Grants: Grants{Kubernetes: []KubernetesGrant{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"patch"}}}},
				Target: bus.Target{Node: "node-1", Namespace: "shop", Pod: "web-1", PodUID: fuzzUID},
			}
			_, err = r.Prepare(t.Context(), s, abi.OpKubernetesPatch, []byte(`{"apiVersion": "v1", "resource": "pods", "name": "web-1", "type": "json", "patch": `+tt.patch+`}`))
			if tt.want == "" {
				if err != nil || strings.Join(server.sent, "\n") != tt.sent {
					t.Errorf("got %v, sent %s", err, server.sent)
				}
				return
			}
			if e, ok := errors.AsType[*abi.Error](err); !ok || e.Code != abi.CodeInvalid || !strings.Contains(e.Text, tt.want) || len(server.sent) != 0 {
				t.Errorf("got %v, sent %s, want %q", err, server.sent, tt.want)
			}
		})
	}
}
