package journal

import (
	"encoding/json"
	"reflect"
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
		want, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.encode()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(value(t, want), value(t, got)); diff != "" {
			t.Errorf("(-encoding/json +encode):\n%s", diff)
		}
	}
}

func TestEncodeRefusesWhatIsNoJSON(t *testing.T) {
	for _, a := range []*Action{{End: End{Data: json.RawMessage(`{`)}}, {Ended: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}} {
		if b, err := a.encode(); err == nil {
			t.Errorf("got %s", b)
		}
	}
}
