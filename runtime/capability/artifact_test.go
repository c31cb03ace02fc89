package capability

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/bustest"
	"github.com/tiercel-project/tiercel/functions/abi"
)

// What is put is stored by its digest, once; the record of it has no text; a rehearsal keeps nothing.
func TestArtifactPut(t *testing.T) {
	b := bustest.Start(t, bus.DefaultServerConfig())
	store, err := b.ObjectStore(t.Context(), bus.StoreArtifacts)
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{Artifacts: store})
	if err != nil {
		t.Fatal(err)
	}
	s := Scope{Grants: Grants{Artifacts: true}, Mode: DryRun}
	put := func(s Scope, request string) (*Prepared, Result, error) {
		p, err := r.Prepare(t.Context(), s, abi.OpArtifactPut, []byte(request))
		if err != nil {
			return nil, Result{}, err
		}
		res, err := r.Execute(t.Context(), s, p, "i.1")
		return p, res, err
	}
	const digest = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
	_, res, err := put(s, `{"name":"a.log","text":"foo"}`)
	if err != nil || !res.Rehearsed || string(res.Response) != `{"digest":"`+digest+`","size":3,"dryRun":true}` {
		t.Errorf("rehearsed: %s, %v", res.Response, err)
	}
	if _, err := store.GetInfo(t.Context(), digest); err == nil {
		t.Error("a rehearsal has stored something")
	}
	s.Mode = Enforce
	for range 2 {
		p, res, err := put(s, `{"name":"a.log","text":"foo"}`)
		if err != nil || res.Object != "a.log" || strings.Contains(string(p.Canonical), "foo") || p.Inverse.Reversible() {
			t.Fatalf("%+v, %+v, %v", p, res, err)
		}
		if done, again, err := r.Look(t.Context(), s, p, "i.1"); err != nil || !done || string(again.Response) != string(res.Response) {
			t.Errorf("look: %v, %+v, %v", done, again, err)
		}
	}
	if text, err := store.GetString(t.Context(), digest); err != nil || text != "foo" {
		t.Errorf("stored %q, %v", text, err)
	}
	p := &Prepared{Op: abi.OpArtifactPut, Canonical: json.RawMessage(`{"name":"b","digest":"sha256:00"}`)}
	if done, _, err := r.Look(t.Context(), s, p, "i.2"); err != nil || done {
		t.Errorf("look for what is not there: %v, %v", done, err)
	}
	for request, code := range map[string]abi.Code{
		`{"name":"","text":""}`:       abi.CodeInvalid,
		`{"name":"../x","text":""}`:   abi.CodeInvalid,
		`{"name":"x","colour":"red"}`: abi.CodeInvalid,
		`{"name":"x","text":"` + strings.Repeat("x", abi.MaxArtifact+1) + `"}`: abi.CodeTooLarge,
	} {
		_, _, err := put(s, request)
		if answer, ok := errors.AsType[*abi.Error](err); !ok || answer.Code != code {
			t.Errorf("%.40s: %v, want %s", request, err, code)
		}
	}
	s.Grants = Grants{}
	if _, _, err := put(s, `{"name":"x","text":""}`); err == nil || !strings.Contains(err.Error(), "artifacts: true") {
		t.Errorf("not granted: %v", err)
	}
}
