package dispatch

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tiercel-project/tiercel/bus"
)

func match(change func(*bus.Event, *bus.MatchData)) []byte {
	m := &bus.MatchData{Rule: "A rule", Priority: "Warning", Source: "syscall", Time: time.Unix(0, 0), Target: bus.Target{Node: "n1.example", Namespace: "ns"}}
	e := &bus.Event{ID: "n1.example-1", Source: "/c/n/s", Type: bus.TypeRuleMatched, Time: m.Time, Rule: m.Rule}
	if change != nil {
		change(e, m)
	}
	e.Data = m.AppendJSON(nil)
	return bus.Marshal(e)
}

func TestForged(t *testing.T) {
	const subject = "tiercel.events.syscall.warning.a_rule.ns.n1_example"
	for _, c := range []struct {
		name, subject, msgID string
		change               func(*bus.Event, *bus.MatchData)
		want                 string // "" is genuine
	}{
		{"genuine", subject, "n1.example-1", nil, ""},
		{"without a message id", subject, "", nil, ""},
		{"another's audit id", "tiercel.events.k8s_audit.warning.a_rule.ns.n1_example", "x/y/z", func(e *bus.Event, m *bus.MatchData) { e.ID, m.Source = "x/y/z", "k8s_audit" }, ""},
		{"rule", strings.Replace(subject, "a_rule", "other", 1), "", nil, "rule is"},
		{"priority", strings.Replace(subject, "warning", "debug", 1), "", nil, "priority is"},
		{"source", strings.Replace(subject, "syscall", "k8s_audit", 1), "", nil, "source is"},
		{"namespace", strings.Replace(subject, ".ns.", "._host.", 1), "", nil, "namespace is"},
		{"node", strings.Replace(subject, "n1_example", "n2", 1), "", nil, "node is"},
		{"no node", subject, "", func(_ *bus.Event, m *bus.MatchData) { m.Target.Node, m.Target.Pod, m.Target.PodUID = "", "web-1", "u1" }, "node is \"\" in the event"},
		{"no target", strings.Replace(subject, ".ns.", "._host.", 1), "", func(_ *bus.Event, m *bus.MatchData) { m.Target = bus.Target{} }, "node is \"\" in the event"},
		{"no node, source in upper case", subject, "", func(_ *bus.Event, m *bus.MatchData) { m.Source, m.Target.Node = "SYSCALL", "" }, "node is \"\" in the event"},
		{"id of another node, source in upper case", subject, "", func(e *bus.Event, m *bus.MatchData) { e.ID, m.Source = "n2-1", "SYSCALL" }, "id \"n2-1\" is not one of node"},
		{"no node in an audit event", "tiercel.events.k8s_audit.warning.a_rule.ns.n1_example", "", func(e *bus.Event, m *bus.MatchData) { m.Source, m.Target.Node = "k8s_audit", "" }, ""},
		{"message id of another node", subject, "n2-1", nil, "message id \"n2-1\" is not one of node"},
		{"message id of another event", subject, "n1.example-2", nil, "id is \"n1.example-1\" in the event"},
		{"node with a longer name", subject, "", func(e *bus.Event, _ *bus.MatchData) { e.ID = "n1.example2-1" }, "is not one of node"},
		{"invalid namespace", strings.Replace(subject, ".ns.", "._invalid.", 1), "", func(_ *bus.Event, m *bus.MatchData) { m.Target.Namespace = "a b" }, "namespace is"},
		{"subject", "tiercel.events.x", "", nil, "malformed subject"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := nats.Header{}
			if c.msgID != "" {
				h.Set(nats.MsgIdHdr, c.msgID)
			}
			d, err := Read(c.subject, h, match(c.change))
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case c.want == "" && d.Forged != nil:
				t.Errorf("got %v", d.Forged)
			case c.want != "" && (!errors.Is(d.Forged, ErrForged) || !strings.Contains(d.Forged.Error(), c.want)):
				t.Errorf("got %v, want %q", d.Forged, c.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add("tiercel.events.syscall.warning.a_rule.ns.n1_example", match(nil))
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		d, err := Read(subject, nil, body)
		if (err == nil) == (d == nil) {
			t.Fatalf("got %v and %v", d, err)
		}
	})
}
