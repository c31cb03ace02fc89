package record_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/record"
)

const line = `{"type":"openat","time":"2026-01-02T03:04:05.000000006Z","fields":{"proc.name":"cat","fd.num":-2,"fd.sip":"10.0.0.1","fd.rport":443,
 "evt.is_open_read":true,"proc.aname":["bash","sshd"],"proc.aname[2]":"sshd","evt.arg.flags":"O_RDONLY","user.loginuid":-1,"fd.name":null,
 "fd.nameraw":"../x"},"resolved":{"fd.nameraw":"/y"}}`

// value extracts a field of e; nil if it has no value.
func value(t *testing.T, e *record.Event, name string, form field.Form) *field.Value {
	t.Helper()
	ref, err := field.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	var v field.Value
	if !e.Extract(&ref, form, &v) {
		return nil
	}
	return &v
}

func TestExtract(t *testing.T) {
	e, err := record.Parse([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	str := func(s string) *field.Value { return &field.Value{Kind: field.KindString, Str: s} }
	for name, want := range map[string]*field.Value{
		"proc.name":        str("cat"),
		"fd.num":           {Kind: field.KindInt, Num: ^uint64(1)},
		"fd.sip":           {Kind: field.KindAddr, Addr: netip.MustParseAddr("10.0.0.1")},
		"fd.rport":         {Kind: field.KindUint, Num: 443},
		"evt.is_open_read": {Kind: field.KindBool, Num: 1},
		"proc.aname":       {Kind: field.KindList, List: []field.Value{*str("bash"), *str("sshd")}},
		"proc.aname[2]":    str("sshd"),
		"proc.aname[3]":    nil,
		"evt.arg.flags":    str("O_RDONLY"),
		"fd.name":          nil,
		"proc.pname":       nil,
		"evt.type":         str("openat"),
		"evt.type.is.open": {Kind: field.KindUint},
		"evt.source":       str("syscall"),
		"evt.rawtime":      {Kind: field.KindUint, Num: 1767323045000000006},
		"fd.nameraw":       str("../x"),
	} {
		got := value(t, e, name, field.AsPassed)
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if v := value(t, e, "fd.nameraw", field.Resolved); !e.TwoForms() || v.Str != "/y" {
		t.Errorf("resolved form %v", v)
	}
	if v := value(t, e, "proc.name", field.Resolved); v == nil || v.Str != "cat" {
		t.Errorf("other fields in the resolved form: %v", v)
	}
	if v := value(t, e, "user.loginuid", field.AsPassed); v.Kind == field.KindInt && int64(v.Num) != -1 || v.Kind == field.KindUint && v.Num != ^uint64(0) {
		t.Errorf("user.loginuid %v", v)
	}
}

func TestValueForms(t *testing.T) {
	e, err := record.New("syscall", map[string]json.RawMessage{
		"fd.types": json.RawMessage(`"file"`), "evt.buffer": json.RawMessage(`[202, 0, 65]`), "proc.nmae": json.RawMessage(`"x"`), "proc.pid": json.RawMessage(`"x"`),
		"fd.num": json.RawMessage(`3`),
	})
	if err == nil || !strings.Contains(err.Error(), "did you mean proc.name?") || !strings.Contains(err.Error(), "x is no integer") {
		t.Errorf("got %v, want errors of both fields", err)
	}
	for name, want := range map[string]*field.Value{
		"fd.types":   {Kind: field.KindList, List: []field.Value{{Kind: field.KindString, Str: "file"}}},
		"evt.buffer": {Kind: field.KindBytes, Str: "\xca\x00A"},
		"proc.pid":   nil,
		"fd.num":     {Kind: field.KindInt, Num: 3},
	} {
		if diff := cmp.Diff(want, value(t, e, name, field.AsPassed), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for data, want := range map[string]string{
		`{"type":"opnat"}`:                                  "did you mean openat?",
		`{"type":"open","fields":{"fd.nme":"x"}}`:           "did you mean fd.name?",
		`{"type":"open","fields":{"fd.num":"x"}}`:           "x is no integer",
		`{"type":"open","fields":{"fd.sip":"x"}}`:           "x is no address",
		`{"type":"open","fields":{"evt.is_open_read":1.5}}`: "1.5 is not true or false",
		`{"type":"open","feilds":{}}`:                       `unknown field "feilds"`,
		`{"type":"open"} {}`:                                "more than one object",
		`[]`:                                                "cannot unmarshal array",
	} {
		if e, err := record.Parse([]byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want an error with %q", data, e, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(line))
	f.Add([]byte(`{"type":"execve","source":"k8s_audit","fields":{"proc.env[A]":"b","proc.duration":-1,"evt.rawarg.uid":0}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := record.Parse(data)
		if err != nil {
			return
		}
		if e.Type() == 0 || e.RuleSource() == "" {
			t.Error("an event without type or source")
		}
		var v field.Value
		for _, id := range field.All() {
			e.Extract(&field.Ref{ID: id, Index: -1}, field.Resolved, &v)
		}
	})
}
