package journal

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fill sets everything below v to something that is not zero, so that a field that is added is seen.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2026, 11, 21, 17, 0, 0, 123, time.FixedZone("", 3600))
		return
	case *json.RawMessage:
		*x = json.RawMessage(`{"a":["<&>"]}`)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("a \"text\" <&> \x01 ü")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(1 << 63)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0))
		fill(t, v.Index(1))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	default:
		t.Fatalf("%v is not known here", v.Type())
	}
}

func value(t *testing.T, b []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return v
}

// What is written by hand is what the tags of the fields say, with all of them set and with none.
func TestEncodeAction(t *testing.T) {
	full := new(Action)
	fill(t, reflect.ValueOf(full).Elem())
	for _, a := range []*Action{full, {}, {ID: "x", Calls: []Call{{}}, Attempts: []Attempt{{}}}} {
		same(t, a, func(e *encoder) { e.action(a) })
	}
}

// same fails the test if f writes something else than encoding/json does.
func same(t *testing.T, v any, f func(*encoder)) {
	t.Helper()
	want, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	e := newEncoder()
	defer e.free()
	if f(e); e.err != nil {
		t.Fatal(e.err)
	}
	if diff := cmp.Diff(value(t, want), value(t, e.dst)); diff != "" {
		t.Errorf("(-encoding/json +encoder):\n%s", diff)
	}
}

// So it is for the data of an outcome, whose effects are the calls with an object.
func TestEncodeSettled(t *testing.T) {
	full := new(Action)
	fill(t, reflect.ValueOf(full).Elem())
	full.Calls = append(full.Calls, Call{Op: "get"}, Call{Op: "create", Object: `a "b"`})
	for _, a := range []*Action{full, {}, {Calls: []Call{{Op: "get"}}}} {
		s := Settled{
			Invocation: a.ID, Function: a.Function.Tenant + "/" + a.Function.Name, Mode: string(a.Mode), Outcome: a.Outcome,
			Reason: a.End.Reason, Text: a.End.Text, Event: a.Event.ID, Rule: a.Event.Rule, Target: a.Event.Target,
		}
		for _, c := range a.Calls {
			if c.Object != "" {
				s.Effects = append(s.Effects, c.Op+" "+c.Object)
			}
		}
		same(t, s, func(e *encoder) { e.settled(a) })
	}
}

// An encoder that is used again has nothing of what it wrote before, and one that has written very much is not.
func TestEncoderIsUsedAgain(t *testing.T) {
	for range 100 {
		e := newEncoder()
		if len(e.dst) != 0 || e.err != nil || cap(e.dst) > 64<<10 {
			t.Fatalf("%d bytes of %d, %v", len(e.dst), cap(e.dst), e.err)
		}
		e.action(&Action{End: End{Data: json.RawMessage(`{`), Text: strings.Repeat("x", 70<<10)}})
		if e.err == nil {
			t.Fatal("took what is no JSON")
		}
		e.free()
	}
}

func TestEncodeRefusesWhatIsNoJSON(t *testing.T) {
	for _, a := range []*Action{{End: End{Data: json.RawMessage(`{`)}}, {Ended: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}} {
		e := newEncoder()
		if e.action(a); e.err == nil {
			t.Errorf("got %s", e.dst)
		}
		e.free()
	}
}
