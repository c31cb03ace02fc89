package capability

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tiercel-project/tiercel/functions/abi"
)

func newBucket(t testing.TB) jetstream.KeyValue {
	t.Helper()
	s, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "kv", LimitMarkerTTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

type state struct {
	t     *testing.T
	r     *Registry
	scope Scope
}

func newState(t *testing.T, kv jetstream.KeyValue, function string) state {
	t.Helper()
	r, err := New(Config{KV: kv})
	if err != nil {
		t.Fatal(err)
	}
	return state{t, r, Scope{Mode: Enforce, Function: Function{Name: function, UID: "u"}, Grants: Grants{KV: true}}}
}

func (st state) call(op string, request any, effect string) (json.RawMessage, *Prepared, error) {
	st.t.Helper()
	p, err := st.r.Prepare(st.t.Context(), st.scope, op, mustJSON(request))
	if err != nil {
		return nil, nil, err
	}
	res, err := st.r.Execute(st.t.Context(), st.scope, p, effect)
	return res.Response, p, err
}

func (st state) value(key string) abi.KVEntry {
	st.t.Helper()
	answer, _, err := st.call(abi.OpKVGet, abi.KVGet{Key: key}, "")
	if err != nil {
		st.t.Fatal(err)
	}
	var e abi.KVEntry
	if err := json.Unmarshal(answer, &e); err != nil {
		st.t.Fatal(err)
	}
	return e
}

func code(err error) abi.Code {
	e, _ := errors.AsType[*abi.Error](err)
	if e == nil {
		return ""
	}
	return e.Code
}

func TestKV(t *testing.T) {
	st := newState(t, newBucket(t), "f")
	if e := st.value("a"); e.Revision != 0 || e.Value != "" {
		t.Errorf("an absent key: %+v", e)
	}
	zero, wrong := uint64(0), uint64(99)
	_, put, err := st.call(abi.OpKVPut, abi.KVPut{Key: "a", Value: "1", Revision: &zero}, "e1")
	if err != nil {
		t.Fatal(err)
	}
	res, err := st.r.Execute(t.Context(), st.scope, put, "e1")
	if err != nil || res.Note == "" {
		t.Errorf("the repetition: %+v, %v", res, err)
	}
	if done, _, err := st.r.Look(t.Context(), st.scope, put, "e1"); !done || err != nil {
		t.Errorf("look: %v, %v", done, err)
	}
	if _, err := st.r.Execute(t.Context(), st.scope, put, "e2"); code(err) != abi.CodeConflict {
		t.Errorf("the same revision for another effect: %v", err)
	}
	if _, _, err := st.call(abi.OpKVPut, abi.KVPut{Key: "a", Value: "2", Revision: &wrong}, "e3"); code(err) != abi.CodeConflict {
		t.Errorf("a wrong revision: %v", err)
	}
	first := st.value("a")
	_, second, err := st.call(abi.OpKVPut, abi.KVPut{Key: "a", Value: "2"}, "e4")
	if err != nil || st.value("a").Value != "2" {
		t.Fatalf("%+v, %v", st.value("a"), err)
	}
	if _, err := st.r.Revert(t.Context(), st.scope, second.Inverse, "e4"); err != nil || st.value("a").Value != first.Value {
		t.Errorf("after the revert: %+v, %v", st.value("a"), err)
	}
	if res, err := st.r.Revert(t.Context(), st.scope, second.Inverse, "e4"); err != nil || !strings.Contains(res.Note, "left alone") {
		t.Errorf("the second revert: %+v, %v", res, err)
	}
	if _, err := st.r.Revert(t.Context(), st.scope, put.Inverse, "e1"); err != nil || st.value("a").Revision != 0 {
		t.Errorf("the revert of the first put: %+v, %v", st.value("a"), err)
	}
}

func TestKVAnyRevisionAfterARace(t *testing.T) {
	st := newState(t, newBucket(t), "f")
	p, err := st.r.Prepare(t.Context(), st.scope, abi.OpKVPut, mustJSON(abi.KVPut{Key: "a", Value: "mine"}))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := st.call(abi.OpKVPut, abi.KVPut{Key: "a", Value: "theirs"}, "e1"); err != nil {
		t.Fatal(err)
	}
	if _, err := st.r.Execute(t.Context(), st.scope, p, "e2"); err != nil || st.value("a").Value != "mine" {
		t.Errorf("%+v, %v", st.value("a"), err)
	}
}

func TestKVExpires(t *testing.T) {
	kv := newBucket(t)
	st := newState(t, kv, "f")
	key, err := stateKey(st.scope, "a")
	if err != nil {
		t.Fatal(err)
	}
	over := entry{Value: "old", Effect: "e0", Expires: time.Now().Add(-time.Second)}
	if _, err := kv.Create(t.Context(), key, mustJSON(over)); err != nil {
		t.Fatal(err)
	}
	if e := st.value("a"); e.Revision != 0 || e.Value != "" {
		t.Errorf("an entry that is over: %+v", e)
	}
	zero := uint64(0)
	if _, _, err := st.call(abi.OpKVPut, abi.KVPut{Key: "a", Value: "new", Revision: &zero, TTL: 3600}, "e1"); err != nil {
		t.Fatal(err)
	}
	if e := st.value("a"); e.Value != "new" {
		t.Errorf("in its place: %+v", e)
	}
}

func TestKVDelete(t *testing.T) {
	st := newState(t, newBucket(t), "f")
	if _, _, err := st.call(abi.OpKVPut, abi.KVPut{Key: "a", Value: "1"}, "e1"); err != nil {
		t.Fatal(err)
	}
	wrong := st.value("a").Revision + 1
	if _, _, err := st.call(abi.OpKVDelete, abi.KVDelete{Key: "a", Revision: &wrong}, "e2"); code(err) != abi.CodeConflict {
		t.Errorf("a wrong revision: %v", err)
	}
	_, p, err := st.call(abi.OpKVDelete, abi.KVDelete{Key: "a"}, "e3")
	if err != nil || st.value("a").Revision != 0 {
		t.Errorf("%+v, %v", st.value("a"), err)
	}
	if done, _, err := st.r.Look(t.Context(), st.scope, p, "e3"); !done || err != nil {
		t.Errorf("look: %v, %v", done, err)
	}
	if _, _, err := st.call(abi.OpKVDelete, abi.KVDelete{Key: "a"}, "e4"); err != nil {
		t.Errorf("what does not exist: %v", err)
	}
}

func TestKVIsTheFunctionsOwn(t *testing.T) {
	kv := newBucket(t)
	f, g := newState(t, kv, "f"), newState(t, kv, "g")
	if _, _, err := f.call(abi.OpKVPut, abi.KVPut{Key: "a", Value: "1"}, "e1"); err != nil {
		t.Fatal(err)
	}
	if e := g.value("a"); e.Revision != 0 {
		t.Errorf("another function reads %+v", e)
	}
	for _, key := range []string{"", ".", "a.", ".a", "a..b", "a b", "a*", ">", "../x", "ü", strings.Repeat("a", 257)} {
		if _, _, err := f.call(abi.OpKVGet, abi.KVGet{Key: key}, ""); code(err) != abi.CodeInvalid {
			t.Errorf("key %q: %v", key, err)
		}
	}
	if _, _, err := f.call(abi.OpKVPut, abi.KVPut{Key: "a", Value: strings.Repeat("x", maxValue+1)}, "e2"); code(err) != abi.CodeTooLarge {
		t.Errorf("a large value: %v", err)
	}
	f.scope.Mode = DryRun
	if _, _, err := f.call(abi.OpKVPut, abi.KVPut{Key: "b", Value: "1"}, "e3"); err != nil || f.value("b").Revision != 0 {
		t.Errorf("a rehearsal wrote: %+v, %v", f.value("b"), err)
	}
	f.scope.Grants.KV = false
	_, _, err := f.call(abi.OpKVGet, abi.KVGet{Key: "a"}, "")
	wantDenied(t, err)
}

func TestRegistry(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	r, err := New(Config{Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{abi.OpKubernetesGet, abi.OpKVGet, "node.kill", "no such thing"} {
		if _, err := r.Prepare(t.Context(), Scope{}, op, nil); code(err) != abi.CodeUnsupported {
			t.Errorf("%s: %v", op, err)
		}
	}
	if _, err := r.Prepare(t.Context(), Scope{}, abi.OpHTTP, make([]byte, abi.MaxRequest+1)); code(err) != abi.CodeTooLarge {
		t.Errorf("a large request: %v", err)
	}
	if _, err := r.Revert(t.Context(), Scope{}, &Inverse{Irreversible: "gone is gone"}, "e"); err == nil || !strings.Contains(err.Error(), "gone is gone") {
		t.Errorf("the revert of what cannot be reverted: %v", err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}
