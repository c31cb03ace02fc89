package runtime

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/dispatch"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/guard"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// kindInvoke is the kind of a retry that is a first try: somebody asks for it.
const kindInvoke = "invoke"

// Invoke has a runtime run a function on an event by hand, whether its triggers select the event or not, and returns the invocation's id.
// The outcome is published as any other. The event is kept with the large answers, since it need not be in the stream.
func Invoke(ctx context.Context, b *bus.Bus, id function.ID, event []byte, by string, dryRun bool) (invocation string, err error) {
	e, err := bus.Unmarshal(event)
	if err != nil {
		return "", err
	}
	m, err := e.Match()
	if err != nil {
		return "", err
	}
	if len(event) > abi.MaxEvent {
		return "", fmt.Errorf("the event has %d bytes, more than %d", len(event), abi.MaxEvent)
	}
	manual := &journal.Manual{By: by, DryRun: dryRun, Asked: time.Now(), Nonce: rand.Text(), Event: store.Digest(event)}
	bodies, err := b.ObjectStore(ctx, bus.StoreBodies)
	if err != nil {
		return "", err
	}
	if _, err := bodies.PutBytes(ctx, manual.Event, event); err != nil {
		return "", fmt.Errorf("store the event: %w", err)
	}
	invocation = manualID(id, e.ID, manual)
	data, err := json.Marshal(retry{
		Kind: kindInvoke, Function: id.Token(), UID: id.UID, Invocation: invocation, MsgID: e.ID, Published: manual.Asked, Event: event, Manual: manual,
		Address: string(bus.EventSubject(m.Source, m.Priority, m.Rule, m.Target.Namespace, m.Target.Node)),
	})
	if err != nil {
		return "", err
	}
	msg := &nats.Msg{Subject: string(bus.TimerDueSubject(invocation + "/invoke")), Data: data}
	if _, err := b.JetStream().PublishMsg(ctx, msg, jetstream.WithMsgID(invocation+"/invoke")); err != nil {
		return "", fmt.Errorf("ask for invocation %s: %w", invocation, err)
	}
	return invocation, nil
}

// manualID is the id of an invocation by hand. Its time is when it was asked for.
func manualID(id function.ID, event string, m *journal.Manual) string {
	return id.Invocation(event, m.Asked, "manual "+m.Nonce)
}

// read makes a delivery of what a timer brings.
func (t *retry) read() (*dispatch.Delivery, error) {
	d, err := dispatch.Read(t.Address, nats.Header{nats.MsgIdHdr: {t.MsgID}}, t.Event)
	if err != nil {
		return nil, err
	}
	d.Sequence, d.Published, d.Again = t.Sequence, t.Published, true
	if t.Manual != nil {
		d.Manual, d.Forged = t.Manual, nil // it did not come from a sensor, and who asks vouches for it
	}
	return d, nil
}

// decide asks the guard. What is asked for by hand is not held back by age, duplicates and budgets, but by what is protected.
func (i *invocation) decide(ctx context.Context) (guard.Decision, error) {
	if i.d.Manual == nil {
		return i.rt.guard.Decide(ctx, i.request())
	}
	return i.rt.guard.DecideManual(i.request(), i.d.Manual.By), nil
}

// manualRetry is the timer's data that has an overdue invocation by hand go on.
func (r *Runtime) manualRetry(ctx context.Context, a *journal.Action) (*retry, error) {
	event, err := r.bodies.GetBytes(ctx, a.Event.Manual.Event)
	if err != nil {
		return nil, err
	}
	return &retry{
		Kind: kindRetry, Function: a.Function.Token(), UID: a.Function.UID, Invocation: a.ID, Address: a.Event.Address, MsgID: a.Event.ID,
		Published: a.Event.Published, Event: event, Manual: a.Event.Manual,
	}, nil
}
