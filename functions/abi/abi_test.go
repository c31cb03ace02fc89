package abi_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// The WIT file names every import and every operation, and no other.
func TestWITAgrees(t *testing.T) {
	text, err := os.ReadFile("tiercel.wit")
	if err != nil {
		t.Fatal(err)
	}
	wit := string(text)
	for _, name := range []string{abi.ImportInput, abi.ImportOutput, abi.ImportCall, abi.ImportResponse, abi.ImportLog} {
		if !strings.Contains(wit, "\n    "+name+": func(") {
			t.Errorf("tiercel.wit has no function %s", name)
		}
	}
	var listed []string
	for line := range strings.Lines(wit) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "/// op "); ok {
			op, class, _ := strings.Cut(name, " ")
			if known, ok := abi.Lookup(op); ok && "("+string(known.Class)+")" != strings.TrimSpace(class) {
				t.Errorf("tiercel.wit: %s is %s, want %s", op, class, known.Class)
			}
			listed = append(listed, op)
		}
	}
	var want []string
	for _, op := range abi.Operations {
		want = append(want, op.Name)
	}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("operations in tiercel.wit (-want +got):\n%s", diff)
	}
}

func TestLookup(t *testing.T) {
	for _, op := range abi.Operations {
		if len(op.Name) > abi.MaxOpName || op.Class == "" || op.Request == "" || op.Response == "" {
			t.Errorf("%+v", op)
		}
	}
	if _, ok := abi.Lookup("node.kill"); ok {
		t.Error("a reserved operation exists")
	}
}

// What has no value is left out, and raw JSON stays as it is.
func TestJSON(t *testing.T) {
	zero := uint64(0)
	for _, tt := range []struct {
		value any
		want  string
	}{
		{abi.KubernetesGet{KubernetesRef: abi.KubernetesRef{APIVersion: "v1", Resource: "pods", Namespace: "n", Name: "p"}}, `{"apiVersion":"v1","resource":"pods","namespace":"n","name":"p"}`},
		{abi.KubernetesPatch{Patch: abi.Raw(`{"a": 1}`)}, `{"apiVersion":"","resource":"","patch":{"a":1}}`},
		{abi.KVPut{Key: "k", Value: "v", Revision: &zero}, `{"key":"k","value":"v","revision":0}`},
		{abi.KVPut{Key: "k"}, `{"key":"k","value":""}`},
		{abi.Result{Outcome: abi.OutcomeSkipped}, `{"outcome":"skipped"}`},
		{abi.KubernetesObject{}, `{"object":null}`},
		{abi.NewError(abi.CodeDenied, "no"), `{"code":"denied","text":"no"}`},
	} {
		got, err := json.Marshal(tt.value)
		if err != nil || string(got) != tt.want {
			t.Errorf("got %s, %v; want %s", got, err, tt.want)
		}
	}
	var r abi.Result
	if err := json.Unmarshal([]byte(`{"outcome":"failed","data":{"a":[1]}}`), &r); err != nil || string(r.Data) != `{"a":[1]}` {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestText(t *testing.T) {
	for level, want := range map[abi.Level]string{abi.LevelDebug: "debug", abi.LevelInfo: "info", abi.LevelWarn: "warn", abi.LevelError: "error", 9: "info"} {
		if level.String() != want {
			t.Errorf("level %d is %q", level, level)
		}
	}
	if e := abi.NewError(abi.CodeDenied, ""); e.Error() != "denied" {
		t.Errorf("an error without text is %q", e)
	}
	for o, want := range map[abi.Outcome]bool{"succeeded": true, "skipped": true, "failed": true, "ineffective": true, "reverted": false, "": false} {
		if o.Valid() != want {
			t.Errorf("outcome %q: %v", o, !want)
		}
	}
}
