package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// nothing does everything it is asked for at once: what is measured is the runtime alone.
type nothing struct{}

func (nothing) Prepare(_ context.Context, _ capability.Scope, op string, request []byte) (*capability.Prepared, error) {
	return &capability.Prepared{Op: op, Write: op == "create", Class: capability.Conditional, Canonical: request, Summary: op}, nil
}

func (nothing) Execute(context.Context, capability.Scope, *capability.Prepared, string) (capability.Result, error) {
	return capability.Result{Response: json.RawMessage(`{}`), Object: "o"}, nil
}

func (nothing) Look(context.Context, capability.Scope, *capability.Prepared, string) (bool, capability.Result, error) {
	return true, capability.Result{}, nil
}

func (nothing) Revert(context.Context, capability.Scope, *capability.Inverse, string) (capability.Result, error) {
	return capability.Result{}, nil
}

// BenchmarkInvocation handles a backlog of events: without effects, with one, and in a dry run. The guest costs nothing.
func BenchmarkInvocation(b *testing.B) {
	read := script(func(_ context.Context, _ sandbox.Invocation, call func(op, request string) (string, error)) (abi.Result, error) {
		_, err := call("get", `{}`)
		return abi.Result{Outcome: abi.OutcomeSucceeded}, err
	})
	for _, c := range []struct {
		name, mode string
		guest      script
	}{{"read", "enforce", read}, {"effect", "enforce", createOne}, {"dryRun", "dryRun", createOne}} {
		b.Run(c.name, func(b *testing.B) {
			bus := newBus(b)
			deploy(b, bus, strings.Replace(plain, "mode: enforce", "mode: "+c.mode+"\n  limits: {concurrency: 16}", 1))
			for n := range b.N {
				publish(b, bus, fmt.Sprintf("n1-%d", n), nil)
			}
			done := make(chan struct{})
			var mu sync.Mutex
			n := 0
			b.ReportAllocs()
			b.ResetTimer()
			start(b, bus, DefaultConfig(), Deps{Capabilities: nothing{}, Compile: compileTo(c.guest), OnAction: func(*journal.Action) {
				mu.Lock()
				defer mu.Unlock()
				if n++; n == b.N {
					close(done)
				}
			}})
			<-done
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkLatency handles one event at a time and reports the legs from the publisher's call on.
func BenchmarkLatency(b *testing.B) {
	bus := newBus(b)
	deploy(b, bus, plain)
	actions := make(chan *journal.Action, 1)
	start(b, bus, DefaultConfig(), Deps{Capabilities: nothing{}, Compile: compileTo(createOne), OnAction: func(a *journal.Action) { actions <- a }})
	publish(b, bus, "n1-first", nil)
	<-actions
	var started, effect, sealed []time.Duration
	n := 0
	for b.Loop() {
		n++
		publish(b, bus, fmt.Sprintf("n1-%d", n), nil)
		a := <-actions
		started = append(started, a.Event.Started.Sub(a.Event.Time))
		effect = append(effect, a.FirstEffect().Sub(a.Event.Time))
		sealed = append(sealed, time.Since(a.Event.Time))
	}
	for _, l := range []struct {
		name string
		d    []time.Duration
	}{{"started", started}, {"effect", effect}, {"sealed", sealed}} {
		slices.Sort(l.d)
		b.ReportMetric(float64(l.d[len(l.d)/2].Microseconds()), l.name+"-p50-µs")
		b.ReportMetric(float64(l.d[len(l.d)*99/100].Microseconds()), l.name+"-p99-µs")
	}
}
