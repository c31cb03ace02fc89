//go:build bench

package sandbox

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
)

type patched struct{}

func (patched) Call(context.Context, string, []byte) ([]byte, error) {
	return []byte(`{"object":{"metadata":{"name":"checkout","labels":{"app":"checkout"}}}}`), nil
}

// BenchmarkFreshState is what a fresh state for every event costs: the responder of samples/sdk in an instance that is put back after each
// event, next to the same in one that is re-used as it is. They take turns; the medians of the rounds are reported, in processor time.
func BenchmarkFreshState(b *testing.B) {
	ev, err := os.ReadFile("../../functions/testdata/event.json")
	if err != nil {
		b.Fatal(err)
	}
	for _, language := range []string{"c", "rust", "assemblyscript", "go"} {
		b.Run(language, func(b *testing.B) {
			wasm, err := functions.Build(b.Context(), filepath.Join("..", "..", "samples", "sdk", language))
			if err != nil {
				b.Fatal(err)
			}
			e, err := New(DefaultConfig(), nil)
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			m, err := e.Compile(b.Context(), wasm)
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			config, err := manifest.ApplyConfig(m.Manifest().Config, nil)
			if err != nil {
				b.Fatal(err)
			}
			inv := &Invocation{ID: "i", Function: language, Event: bytes.TrimSpace(ev), Config: config, Time: time.Unix(1795215521, 0)}
			inv.Limits = inv.Limits.withDefaults()
			const rounds, events = 5, 1000
			var fresh, reused []float64
			for b.Loop() {
				for range rounds {
					fresh = append(fresh, roundCPU(b, m, inv, events, true))
					reused = append(reused, roundCPU(b, m, inv, events, false))
				}
			}
			slices.Sort(fresh)
			slices.Sort(reused)
			f, r := fresh[len(fresh)/2], reused[len(reused)/2]
			b.ReportMetric(f, "fresh-µs")
			b.ReportMetric(r, "reused-µs")
			b.ReportMetric(f/r, "ratio")
		})
	}
}

// roundCPU is the processor time in µs of one of n events.
func roundCPU(b *testing.B, m *Module, inv *Invocation, n int, fresh bool) float64 {
	b.Helper()
	in, err := m.take(inv.Limits.Memory)
	if err != nil {
		b.Fatal(err)
	}
	start := usedCPU(b)
	for range n {
		c := &call{ctx: b.Context(), inv: inv, host: patched{}, report: &Report{}, clock: newStopwatch(inv.Limits.Timeout)}
		status, err := m.handle(c, in)
		if err != nil {
			b.Fatal(err)
		}
		if res, fault := c.result(status); fault != nil || res.Outcome != abi.OutcomeSucceeded {
			b.Fatalf("%+v, %v", res, fault)
		}
		if fresh {
			m.give(in, true)
			if in, err = m.take(inv.Limits.Memory); err != nil {
				b.Fatal(err)
			}
		}
	}
	used := usedCPU(b) - start
	m.give(in, fresh) // a state that has lasted is thrown away
	return float64(used.Nanoseconds()) / float64(n) / 1e3
}

func usedCPU(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
