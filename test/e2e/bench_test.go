//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

// BenchmarkIsolation measures the way from a connection in the kernel to the API server's acknowledgement of the NetworkPolicy, leg by leg,
// each time for another pod: -benchtime 100x. All times are of this machine's clock; the first is the kernel's own.
func BenchmarkIsolation(b *testing.B) {
	s := newScene(b, unchanged)
	s.misbehave() // the first one mints the token and makes the connections
	s.action("isolate-pod", journal.Succeeded)
	ended := s.outcomes("isolate-pod")
	n := 0
	for b.Loop() { // one at a time: what is measured is the way of an event, not what else this machine does meanwhile
		b.StopTimer()
		n++
		_, c := s.addPod(fmt.Sprintf("bench-%d", n))
		b.StartTimer()
		c.misbehave()
		if _, err := ended.NextMsg(time.Minute); err != nil {
			b.Fatal(err)
		}
	}
	var actions []journal.Action
	out := tiercel(b, "action", "list", "--data", s.data, "--function", "isolate-pod", "--status", "succeeded", "-n", "0", "-o", "json")
	if err := json.Unmarshal([]byte(out), &actions); err != nil {
		b.Fatal(err)
	}
	if len(actions) != n+1 {
		b.Fatalf("%d actions for %d events", len(actions), n+1)
	}
	s.reportLegs(b, actions[1:])
}

// outcomes subscribes to the successes of a function.
func (s *scene) outcomes(function string) *nats.Subscription {
	s.t.Helper()
	conn, err := (&connect.Flags{Data: s.data}).Connect(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(conn.Close)
	sub, err := conn.Conn().SubscribeSync("tiercel.outcomes." + s.namespace + ".default_" + function + ".succeeded")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := conn.Conn().Flush(); err != nil {
		s.t.Fatal(err)
	}
	return sub
}

func (s *scene) reportLegs(b *testing.B, actions []journal.Action) {
	b.Helper()
	stored := s.stored()
	var published, started, label, policy []time.Duration
	for _, a := range actions {
		published = append(published, stored[a.Event.ID].Sub(a.Event.Time))
		started = append(started, a.Event.Started.Sub(a.Event.Time))
		for _, c := range a.Calls {
			switch {
			case strings.HasPrefix(c.Object, "pods/") && c.Effect != "":
				label = append(label, c.Done.Sub(a.Event.Time))
			case strings.HasPrefix(c.Object, "networkpolicies") && c.Effect != "":
				policy = append(policy, c.Done.Sub(a.Event.Time))
			}
		}
	}
	for _, leg := range []struct {
		name string
		took []time.Duration
	}{{"stored", published}, {"started", started}, {"label", label}, {"policy", policy}} {
		if len(leg.took) != len(actions) {
			b.Errorf("%d of %d actions have the leg %s", len(leg.took), len(actions), leg.name)
			continue
		}
		slices.Sort(leg.took)
		b.ReportMetric(milliseconds(leg.took[len(leg.took)/2]), leg.name+"-p50-ms")
		b.ReportMetric(milliseconds(leg.took[len(leg.took)*99/100]), leg.name+"-p99-ms")
	}
}

// stored returns when the stream EVENTS stored each event.
func (s *scene) stored() map[string]time.Time {
	s.t.Helper()
	bus, err := (&connect.Flags{Data: s.data}).Connect(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer bus.Close()
	stream, err := bus.JetStream().Stream(s.t.Context(), "EVENTS")
	if err != nil {
		s.t.Fatal(err)
	}
	times := map[string]time.Time{}
	state := stream.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		msg, err := stream.GetMsg(s.t.Context(), seq)
		if err != nil {
			s.t.Fatal(err)
		}
		times[msg.Header.Get("Nats-Msg-Id")] = msg.Time
	}
	return times
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
