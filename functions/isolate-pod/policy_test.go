package main

import (
	"testing"

	tiercel "github.com/tiercel-project/tiercel/functions/sdk/go"
)

func value(t *testing.T, text string) tiercel.Value {
	t.Helper()
	v, err := tiercel.ParseJSON([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestSelects(t *testing.T) {
	labels := value(t, `{"app":"web","tier":"front"}`)
	for selector, want := range map[string]bool{
		`{}`:                                   true,
		`{"matchLabels":{}}`:                   true,
		`{"matchLabels":{"app":"web"}}`:        true,
		`{"matchLabels":{"app":"api"}}`:        false,
		`{"matchLabels":{"zone":""}}`:          false,
		expressions("app", "In", "api", "web"): true,
		expressions("app", "In", "api"):        false,
		expressions("zone", "In", ""):          false,
		expressions("app", "NotIn", "api"):     true,
		expressions("app", "NotIn", "web"):     false,
		expressions("zone", "NotIn", "a"):      true,
		expressions("app", "Exists"):           true,
		expressions("zone", "Exists"):          false,
		expressions("zone", "DoesNotExist"):    true,
		expressions("app", "DoesNotExist"):     false,
		expressions("app", "Like", "w"):        true,
		`{"matchLabels":{"app":"web"},"matchExpressions":[{"key":"tier","operator":"DoesNotExist"}]}`: false,
	} {
		if got := selects(value(t, selector), labels); got != want {
			t.Errorf("%s: %v", selector, got)
		}
	}
}

func expressions(key, operator string, values ...string) string {
	text, _ := tiercel.AppendJSON(nil, tiercel.Object{"matchExpressions": tiercel.List{tiercel.Object{"key": key, "operator": operator, "values": values}}})
	return string(text)
}

func TestAllows(t *testing.T) {
	for spec, want := range map[string]int{
		`{"podSelector":{},"policyTypes":["Ingress","Egress"]}`:              allowsNone,
		`{"ingress":[],"egress":[]}`:                                         allowsNone,
		`{"ingress":[{}]}`:                                                   allowsAll,
		`{"egress":[{"to":[],"ports":[]}]}`:                                  allowsAll,
		`{"egress":[{"ports":[{"port":53}]}]}`:                               allowsSome,
		`{"ingress":[{"from":[{"podSelector":{}}]}]}`:                        allowsSome,
		`{"ingress":[{"from":[{"podSelector":{}}]}],"egress":[{"to":null}]}`: allowsAll,
	} {
		if got := allows(value(t, spec)); got != want {
			t.Errorf("%s: got %d, want %d", spec, got, want)
		}
	}
}

func TestEqual(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{`{"a":[1,{"b":"c"}],"d":null}`, ` {"d" : null, "a":[ 1 ,{"b":"\u0063"}]}`, true},
		{`{"a":1}`, `{"a":1,"b":2}`, false},
		{`{"a":1,"b":2}`, `{"a":1}`, false},
		{`{"a":1}`, `{"b":1}`, false},
		{`[1,2]`, `[1]`, false},
		{`[1]`, `[1,2]`, false},
		{`"1"`, `1`, false},
		{`true`, `false`, false},
	} {
		if got := equal(value(t, tt.a), value(t, tt.b)); got != tt.want {
			t.Errorf("%s, %s: %v", tt.a, tt.b, got)
		}
	}
}
