package runtime

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// Each limit of a document ends the invocation that meets it with an outcome that names it and says where it is raised, and leaves the next
// alone. The guest is real, and does what the event's subject says.
func TestLimitsEndInvocations(t *testing.T) {
	module, err := functions.Build(t.Context(), filepath.Join("sandbox", "testdata", "hostile"))
	if err != nil {
		t.Fatal(err)
	}
	engine, err := sandbox.New(sandbox.Config{Slots: 4, CacheDir: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	b := newBus(t)
	deploy(t, b, strings.Replace(plain, "mode: enforce", "mode: enforce\n  limits: {timeout: 8s, memory: 16Mi, output: 2Ki, log: 16Ki, calls: 3}", 1))
	w := newWorld(b)
	guest, err := engine.Compile(t.Context(), module) // now: nothing waits for it
	if err != nil {
		t.Fatal(err)
	}
	start(t, b, DefaultConfig(), Deps{
		Capabilities: w, Free: engine.Free, Compile: func(context.Context, []byte) (Guest, error) { return guest, nil },
	})
	cases := []struct{ subject, reason, text, field string }{
		{"spin", "deadline", "it ran longer than 8s", "limits.timeout"},
		{"memory", "memory", "it needed more than 16Mi of memory", "limits.memory"},
		{"output-flood", "output", "its result is larger than 2Ki", "limits.output"},
		{"call-flood", "calls", "it made more than 3 calls", "limits.calls"},
		{"log-for-ever", "log", "it wrote more than 64 times its log's 16Ki", "limits.log"},
		{"log-flood", "", "", "limits.log"},
		{"nothing", "function", "no attack nothing", ""},
	}
	for _, c := range cases {
		publish(t, b, "n1-"+c.subject, func(e *bus.Event, _ *bus.MatchData) { e.Subject = c.subject })
	}
	got := actions(t, b, len(cases))
	for _, c := range cases {
		a := got["n1-"+c.subject][0]
		if a.End.Reason != c.reason || !strings.HasPrefix(a.End.Text, c.text) {
			t.Errorf("%s: ended with %q: %q; want %q: %q", c.subject, a.End.Reason, a.End.Text, c.reason, c.text)
		}
		switch {
		case c.subject == "log-flood": // dropped, not ended
			last := a.End.Log[len(a.End.Log)-1]
			if a.Outcome != journal.Succeeded || a.End.Dropped < 900 || !strings.Contains(last.Text, c.field) {
				t.Errorf("%s: outcome %s, %d lines dropped, last line %q", c.subject, a.Outcome, a.End.Dropped, last.Text)
			}
		case c.field != "" && (a.Outcome != journal.Failed || !strings.Contains(a.End.Text, c.field+" in the function's document raises that")):
			t.Errorf("%s: outcome %s, %q does not say where the limit is raised", c.subject, a.Outcome, a.End.Text)
		}
	}
}

// A limit on steps ends before the limit on time does.
func TestFuelLimit(t *testing.T) {
	module, err := functions.Build(t.Context(), filepath.Join("sandbox", "testdata", "hostile"))
	if err != nil {
		t.Fatal(err)
	}
	engine, err := sandbox.New(sandbox.Config{Slots: 1, CacheDir: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	b := newBus(t)
	deploy(t, b, strings.Replace(plain, "mode: enforce", "mode: enforce\n  limits: {timeout: 1m, fuel: 100000000}", 1))
	start(t, b, DefaultConfig(), Deps{
		Capabilities: newWorld(b), Compile: func(ctx context.Context, _ []byte) (Guest, error) { return engine.Compile(ctx, module) },
	})
	publish(t, b, "n1-1", func(e *bus.Event, _ *bus.MatchData) { e.Subject = "spin" })
	a := actions(t, b, 1)["n1-1"][0]
	if a.Outcome != journal.Failed || a.End.Reason != "fuel" || !strings.Contains(a.End.Text, "it took more than 100000000 steps; limits.fuel in the function's document raises that") {
		t.Errorf("got %s, %+v", a.Outcome, a.End)
	}
}
