package runtime

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// What timers bring back counts towards the function's limit of concurrency.
func TestRetryConcurrency(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  limits: {concurrency: 1}", 1))
	running, release := make(chan struct{}), make(chan struct{})
	r, _ := start(t, b, quick(), Deps{
		Capabilities: newWorld(b),
		Compile: compileTo(func(context.Context, sandbox.Invocation, func(op, request string) (string, error)) (abi.Result, error) {
			close(running)
			<-release
			return abi.Result{Outcome: abi.OutcomeSucceeded}, nil
		}),
	})
	publish(t, b, "n1-1", nil)
	<-running
	stream, err := b.JetStream().Stream(t.Context(), bus.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	due := &retry{
		Function: e.Key(), UID: e.ID.UID, Address: m.Subject, MsgID: m.Header.Get(nats.MsgIdHdr), Sequence: m.Sequence, Published: m.Time, Event: m.Data,
	}
	if v := r.retry(t.Context(), due); v.String() != "nak" {
		t.Errorf("a retry beside a function at its limit: %v", v)
	}
	close(release)
	actions(t, b, 1)
	settled(t, b, e)
	if v := r.retry(t.Context(), due); v.String() != "ack" {
		t.Errorf("a retry when there is room: %v", v)
	}
}
