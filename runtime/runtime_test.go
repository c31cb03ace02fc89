package runtime

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

func TestOneEvent(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	publish(t, b, "n1-before", nil) // before the function: not for it
	e := deploy(t, b, plain)
	start(t, b, DefaultConfig(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	publish(t, b, "n1-1", nil)
	got := actions(t, b, 1)
	settled(t, b, e)
	w.check(t)
	as := got["n1-1"]
	if len(as) != 1 || len(got) != 1 {
		t.Fatalf("got actions %v", got)
	}
	a := as[0]
	if a.Outcome != journal.Succeeded || len(a.Calls) != 2 || a.Calls[1].Effect != a.ID+".2" || a.Calls[1].Object == "" {
		t.Errorf("got %+v", a)
	}
	if len(a.Attempts) != 1 || a.Attempts[0].Ended != "ended" {
		t.Errorf("attempts: %+v", a.Attempts)
	}
	if done, _ := w.count(); done != 1 {
		t.Errorf("%d effects", done)
	}
	// What is left of the journal is the mark of one record.
	records, err := b.ReadSubject(context.Background(), bus.StreamJournal, bus.JournalSubject(e.Key(), a.ID))
	if err != nil || len(records) != 1 {
		t.Errorf("journal after the seal: %d records, %v", len(records), err)
	}
	if info, err := b.JetStream().Stream(context.Background(), bus.StreamJournal); err != nil || info.CachedInfo().State.LastSeq != 3 {
		t.Errorf("an invocation with one effect appended %+v, want two and the mark", info.CachedInfo().State)
	}
}

// The limits of the document are those of the guest.
func TestLimits(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  limits: {timeout: 2s, memory: 1Mi, fuel: 12345, output: 2Ki, log: 4Ki, calls: 7}", 1))
	got := make(chan sandbox.Limits, 1)
	start(t, b, quick(), Deps{
		Capabilities: newWorld(b),
		Compile: compileTo(func(_ context.Context, inv sandbox.Invocation, _ func(op, request string) (string, error)) (abi.Result, error) {
			got <- inv.Limits
			return abi.Result{Outcome: abi.OutcomeSucceeded}, nil
		}),
	})
	publish(t, b, "n1-1", nil)
	want := sandbox.Limits{Timeout: 2 * time.Second, Memory: 1 << 20, Fuel: 12345, Output: 2 << 10, Log: 4 << 10, Calls: 7}
	if l := <-got; l != want {
		t.Errorf("got %+v, want %+v", l, want)
	}
}
