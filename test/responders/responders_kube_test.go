//go:build kube

package responders

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/runtime/journal"
)

func (s *stage) wantRules(want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.rules()); diff != "" {
		s.t.Errorf("rights (-want +got):\n%s", diff)
	}
}

func TestLabel(t *testing.T) {
	s := newStage(t, "label", `
  config: {labels: {"example.com/seen": "yes", app: quarantined}, ruleLabel: example.com/rule}
  grants: {kubernetes: [{apiGroups: [""], resources: [pods], verbs: [get, patch]}]}
`)
	a := s.succeeds()
	want := map[string]string{"app": "quarantined", "example.com/seen": "yes", "example.com/rule": "Terminal_shell_in_container"}
	if diff := cmp.Diff(want, s.fetch().Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	s.wantRules("get,patch pods")
	s.revert(a)
	if left := s.fetch().Annotations; len(left) != 0 {
		t.Errorf("after the revert there are %v", left)
	}
	if diff := cmp.Diff(map[string]string{"app": "web"}, s.fetch().Labels); diff != "" {
		t.Errorf("labels after the revert (-want +got):\n%s", diff)
	}
}

func TestAnnotate(t *testing.T) {
	s := newStage(t, "annotate", `
  config: {prefix: example.com, fields: [proc.cmdline]}
  grants: {kubernetes: [{apiGroups: [""], resources: [pods], verbs: [get, patch]}]}
`)
	a := s.succeeds()
	got := s.fetch().Annotations
	for key, want := range map[string]string{"rule": testRule, "priority": "Warning", "proc.cmdline": "bash -i", "output": "a shell (user=root)", "event": a.Event.ID} {
		if got["example.com/"+key] != want {
			t.Errorf("annotation %s is %q, want %q", key, got["example.com/"+key], want)
		}
	}
	s.wantRules("get,patch pods")
	s.revert(a)
	if left := s.fetch().Annotations; len(left) != 0 {
		t.Errorf("after the revert there are %v", left)
	}
}

func TestPodLog(t *testing.T) {
	s := newStage(t, "pod-log", `
  config: {tailLines: 1}
  grants: {artifacts: true, kubernetes: [{apiGroups: [""], resources: [pods/log], verbs: [get]}]}
`)
	a := s.succeeds()
	if diff := cmp.Diff(map[string]string{"web.log": "GET /admin\n"}, s.artifacts(a)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	s.wantRules("get pods/log")
	if len(a.Effects()) != 0 {
		t.Error("evidence can be taken back")
	}
}

func TestPodLogOfAll(t *testing.T) {
	s := newStage(t, "pod-log", `
  config: {containers: all}
  grants: {artifacts: true, kubernetes: [{apiGroups: [""], resources: [pods/log, pods], verbs: [get]}]}
`)
	want := map[string]string{"web.log": "GET /\nGET /admin\n", "proxy.log": "proxied\n"}
	if diff := cmp.Diff(want, s.artifacts(s.succeeds())); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

func TestForward(t *testing.T) {
	got := make(chan []byte, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- body
	}))
	t.Cleanup(receiver.Close)
	s := newStage(t, "forward", `
  config: {format: falcosidekick, url: "`+receiver.URL+`/falco"}
  grants: {http: ["`+receiver.URL+`/falco"]}
`)
	a := s.succeeds()
	var alert struct{ Rule, Priority, Output string }
	if err := json.Unmarshal(<-got, &alert); err != nil || alert.Rule != testRule || alert.Output != "a shell (user=root)" {
		t.Errorf("received %+v, %v", alert, err)
	}
	s.wantRules() // nothing of the cluster
	if len(a.Effects()) != 0 {
		t.Error("a message can be taken back")
	}
}

func TestExec(t *testing.T) {
	s := newStage(t, "exec", `
  config: {command: [echo, "of $HOME"]}
  grants: {artifacts: true, exec: [{commands: [[echo, "of $HOME"]], containers: [web], selector: app=web}]}
`)
	a := s.succeeds()
	if diff := cmp.Diff(map[string]string{"stdout.txt": "of $HOME\n"}, s.artifacts(a)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	s.wantRules("create,get pods/exec", "get pods")
	if len(a.Effects()) != 0 {
		t.Error("a command can be taken back")
	}
}

// What the document does not grant is refused, and the outcome says what is missing. A command that is not granted is refused when the document
// is loaded; which labels a pod has is known when it comes to it.
func TestExecNotGranted(t *testing.T) {
	s := newStage(t, "exec", `
  config: {command: [echo, one]}
  grants: {artifacts: true, exec: [{commands: [[echo, one]], selector: app=db}]}
`)
	if a := s.match(); a.Outcome != journal.Failed || !strings.Contains(a.End.Text, "the pod does not have the labels that the grant wants (app=db)") {
		t.Errorf("%s: %s", a.Outcome, a.End.Text)
	}
}
