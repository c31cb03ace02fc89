package main

import (
	"strings"
	"testing"

	tiercel "github.com/tiercel-project/tiercel/functions/sdk/go"
)

// However large the event's texts are, the message is bounded; and nothing in them becomes a mention or a link.
func TestSlackIsBounded(t *testing.T) {
	huge := strings.Repeat("<!here>é", 10_000)
	ev := tiercel.Event{ID: huge, Rule: huge, Priority: huge, Output: huge, Hostname: huge, Time: huge}
	ev.Target = tiercel.Target{Namespace: huge, PodName: huge, Container: huge, Image: huge, Node: huge}
	text, err := tiercel.AppendJSON(nil, slack(ev, tiercel.Value{}))
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 32<<10 {
		t.Errorf("%d bytes", len(text))
	}
	if strings.ContainsAny(string(text), "<>") {
		t.Error("markup is left in it")
	}
	if _, err := tiercel.ParseJSON(text); err != nil {
		t.Error(err)
	}
}

func TestShort(t *testing.T) {
	for _, tt := range []struct {
		s    string
		n    int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc…"}, {"aéé", 2, "a…"}, {"", 0, ""}} {
		if got := short(tt.s, tt.n); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.s, got, tt.want)
		}
	}
}

func TestColor(t *testing.T) {
	seen := map[string]string{}
	for _, p := range []string{"Critical", "Warning", "Notice", "Informational", "Debug"} {
		c := color(p)
		if other, twice := seen[c]; twice {
			t.Errorf("%s and %s have one color", p, other)
		}
		seen[c] = p
	}
}
