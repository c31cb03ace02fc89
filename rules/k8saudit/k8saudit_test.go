package k8saudit_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/k8saudit"
)

const record = `{
  "kind": "Event", "auditID": "a-1", "stage": "ResponseComplete", "stageTimestamp": "2026-01-02T03:04:05.000006Z",
  "verb": "create", "requestURI": "/api/v1/namespaces/shop/pods?fieldManager=kubectl&dryRun=", "userAgent": "kubectl/1.36",
  "user": {"username": "eve", "groups": ["dev", "system:authenticated"]}, "sourceIPs": ["10.0.0.7", "10.0.0.8"],
  "annotations": {"authorization.k8s.io/decision": "allow", "a/b": {"z": 1, "a": [true, null]}},
  "objectRef": {"resource": "pods", "namespace": "shop"},
  "responseObject": {"metadata": {"name": "web-x7k2p"}}, "responseStatus": {"code": 201},
  "requestObject": {"spec": {
    "hostNetwork": true, "securityContext": {"runAsUser": 1000},
    "containers": [
      {"name": "a", "image": "registry:5000/team/web:v1", "args": ["-x", "-y"], "ports": [{"containerPort": 80}, {"hostPort": 8080, "containerPort": 81}],
       "securityContext": {"privileged": true, "capabilities": {"add": ["NET_ADMIN", "SYS_ADMIN"]}}},
      {"name": "b", "image": "nginx@sha256:00", "securityContext": {"runAsUser": 7}}],
    "volumes": [{"name": "v", "hostPath": {"path": "/etc"}}, {"name": "w", "secret": {}}]}}
}`

// text renders the value of a field, or "-" if it has none.
func text(t *testing.T, e *k8saudit.Event, name string) string {
	t.Helper()
	ref, err := field.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	var v field.Value
	if !e.Extract(&ref, field.AsPassed, &v) {
		return "-"
	}
	if v.Kind != field.KindList {
		return v.Str
	}
	var items []string
	for _, item := range v.List {
		items = append(items, item.Str)
	}
	return "(" + strings.Join(items, ",") + ")"
}

func TestFields(t *testing.T) {
	events, rejected, err := k8saudit.Parse([]byte(record))
	if err != nil || len(rejected) > 0 || len(events) != 1 {
		t.Fatal(events, rejected, err)
	}
	for name, want := range map[string]string{
		"ka.auditid":                                "a-1",
		"ka.user.groups":                            "(dev,system:authenticated)",
		"ka.sourceips":                              "(10.0.0.7,10.0.0.8)",
		"ka.sourceips[1]":                           "(10.0.0.8)",
		"ka.sourceips[2]":                           "-",
		"ka.uri.param[fieldManager]":                "kubectl",
		"ka.uri.param[dryRun]":                      "",
		"ka.uri.param[none]":                        "-",
		"ka.auth.decision":                          "allow",
		"ka.auth.reason":                            "-",
		"ka.target.name":                            "-",
		"ka.target.pod.name":                        "web-x7k2p",
		"ka.response.code":                          "201",
		"ka.req.pod.host_network":                   "true",
		"ka.req.pod.host_pid":                       "-",
		"ka.req.pod.containers.image":               "(registry:5000/team/web:v1,nginx@sha256:00)",
		"ka.req.pod.containers.image.repository":    "(registry:5000/team/web,nginx)",
		"ka.req.pod.containers.image.repository[1]": "(nginx)",
		"ka.req.container.image.repository":         "registry:5000/team/web",
		"ka.req.pod.containers.args":                "(-x,-y)",
		"ka.req.pod.containers.privileged":          "(true)",
		"ka.req.container.privileged":               "true",
		"ka.req.pod.containers.add_capabilities":    "(NET_ADMIN,SYS_ADMIN)",
		"ka.req.pod.containers.run_as_user":         "(7)",
		"ka.req.pod.containers.eff_run_as_user":     "(1000,7)",
		"ka.req.pod.containers.eff_run_as_group":    "(0,0)",
		"ka.req.pod.containers.host_port":           "(80,8080)",
		"ka.req.pod.initContainers.image":           "-",
		"ka.req.pod.volumes.hostpath":               "(/etc)",
		"ka.req.pod.volumes.volume_type":            "(hostPath,secret)",
		"ka.req.volume.hostpath[/e*]":               "true",
		"ka.req.volume.hostpath[/e]":                "false",
		"ka.req.binding.subject.has_name[x]":        "N/A",
		"jevt.value[/stage]":                        "ResponseComplete",
		"jevt.value[/responseStatus/code]":          "201",
		"jevt.value[/annotations/a~1b]":             `{"z":1,"a":[true,null]}`,
		"jevt.value[/annotations/a~1b/a/1]":         "null",
		"jevt.value[/annotations/a~1b/a/2]":         "-",
		"json.value[/user/groups/0]":                "dev",
		"jevt.value[/user/groups/x]":                "-",
		"jevt.value[/stage/x]":                      "-",
		"jevt.rawtime":                              "1767323045000006000",
		"evt.source":                                "k8s_audit",
		"proc.name":                                 "-",
	} {
		if got := text(t, events[0], name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if want := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC); !events[0].Time().Equal(want) {
		t.Errorf("time %v, want %v", events[0].Time(), want)
	}
}

func TestParse(t *testing.T) {
	one := func(id string) string {
		return `{"kind":"Event","auditID":"` + id + `","stageTimestamp":"2026-01-02T03:04:05Z"}`
	}
	for _, tt := range []struct {
		name, data string
		ids        []string
		rejected   error
		index      int
	}{
		{name: "event", data: one("a"), ids: []string{"a"}},
		{name: "list", data: `{"kind":"EventList","items":[` + one("a") + "," + one("b") + "]}", ids: []string{"a", "b"}},
		{name: "array", data: "[" + one("a") + "," + one("b") + "]", ids: []string{"a", "b"}},
		{name: "lines", data: one("a") + "\n" + one("b") + "\n", ids: []string{"a", "b"}},
		{name: "nothing", data: " \n"},
		{name: "not audit", data: one("a") + `{"kind":"Pod"}`, ids: []string{"a"}, rejected: k8saudit.ErrNoEvent, index: 1},
		{name: "scalar", data: `7`, rejected: k8saudit.ErrNoEvent},
		{name: "no time", data: `{"kind":"Event","auditID":"a"}` + one("b"), ids: []string{"b"}, rejected: k8saudit.ErrNoTime},
		{name: "no id", data: `{"kind":"Event","stageTimestamp":"2026-01-02T03:04:05Z"}`, rejected: k8saudit.ErrNoAuditID},
		{name: "too large", data: `{"kind":"Event","auditID":"` + strings.Repeat("a", k8saudit.MaxEventSize) + `"}`, rejected: k8saudit.ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events, rejected, err := k8saudit.Parse([]byte(tt.data))
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, e := range events {
				ids = append(ids, e.ID())
			}
			if diff := cmp.Diff(tt.ids, ids); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			switch {
			case tt.rejected == nil && len(rejected) > 0:
				t.Error(rejected[0])
			case tt.rejected != nil && (len(rejected) != 1 || !errors.Is(rejected[0], tt.rejected) || rejected[0].Index != tt.index):
				t.Errorf("rejected %v, want %v at %d", rejected, tt.rejected, tt.index)
			}
		})
	}
	if _, _, err := k8saudit.Parse([]byte(`{"kind":`)); err == nil {
		t.Error("half a document: no error")
	}
}

func TestMatchAllocations(t *testing.T) {
	events, _, err := k8saudit.Parse([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	var refs []field.Ref
	for _, name := range []string{"ka.verb", "jevt.value[/stage]", "ka.target.resource", "ka.req.pod.containers.image", "ka.response.code"} {
		ref, err := field.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	var v field.Value
	v.List = make([]field.Value, 0, 8)
	if n := testing.AllocsPerRun(100, func() {
		for i := range refs {
			events[0].Extract(&refs[i], field.AsPassed, &v)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(record))
	f.Add([]byte(`{"kind":"EventList","items":[{"kind":"Event","auditID":"a","stageTimestamp":"2026-01-02T03:04:05Z","requestObject":{"spec":{"containers":[1,{"image":["x"]}],"volumes":{}}}}]}`))
	f.Add([]byte(`[[[[]]]]`))
	f.Add([]byte(`{"kind":"Event","auditID":"a","stageTimestamp":"2026-01-02T03:04:05Z","requestURI":"/%zz?a=b","objectRef":null,"requestObject":[{"a":1}]}`))
	refs := allRefs(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		events, rejected, err := k8saudit.Parse(data)
		if err != nil && (events != nil || rejected != nil) {
			t.Error("both a result and an error")
		}
		var v field.Value
		for _, e := range events {
			if e.Time().IsZero() && e.ID() == "" {
				t.Error("an event without id and time")
			}
			for i := range refs {
				e.Extract(&refs[i], field.AsPassed, &v)
			}
		}
	})
}

// allRefs returns a use of every field that audit events have.
func allRefs(tb testing.TB) []field.Ref {
	var refs []field.Ref
	for _, id := range field.All() {
		ref := field.Ref{ID: id, Index: -1}
		if !k8saudit.Given(&ref) {
			continue
		}
		refs = append(refs, ref)
		if id.Info().Flags&field.FlagArgIndex != 0 {
			ref.Arg, ref.Index = "1", 1
			refs = append(refs, ref)
		}
		if id.Info().Flags&field.FlagArgKey != 0 {
			ref.Arg = "/requestObject/spec"
			refs = append(refs, ref)
		}
	}
	if len(refs) < 100 {
		tb.Fatalf("only %d fields", len(refs))
	}
	return refs
}
