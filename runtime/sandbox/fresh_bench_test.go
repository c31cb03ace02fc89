//go:build bench

package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
)

type patched struct{}

func (patched) Call(context.Context, string, []byte) ([]byte, error) {
	return []byte(`{"object":{"metadata":{"name":"checkout","labels":{"app":"checkout"}}}}`), nil
}

// BenchmarkFreshState is what a fresh state for every event costs: the responder of samples/sdk in each language, in an instance that is put
// back after each event, next to the same in one that is re-used as it is. They take turns every few events, so that whatever else the machine
// does meets both; the medians of all turns, and of the ratio of two that follow each other, are reported, in processor time.
func BenchmarkFreshState(b *testing.B) {
	ev, err := os.ReadFile("../../functions/testdata/event.json")
	if err != nil {
		b.Fatal(err)
	}
	const renewals, turns, events = 10, 20, 25
	for _, language := range []string{"c", "rust", "assemblyscript", "go", "javascript"} {
		m := sdkModule(b, language)
		config, err := manifest.ApplyConfig(m.Manifest().Config, nil)
		if err != nil {
			b.Fatal(err)
		}
		inv := &Invocation{ID: "i", Function: language, Event: bytes.TrimSpace(ev), Config: config, Time: time.Unix(1795215521, 0)}
		inv.Limits = inv.Limits.withDefaults()
		var fresh, reused, ratios []float64
		b.Run(language, func(b *testing.B) {
			for b.Loop() {
				for range renewals { // a state that lasts grows, and costs more and more
					lasting := newGuest(b, m, inv, false)
					once := newGuest(b, m, inv, true)
					for range turns {
						f, r := once.cpu(b, events), lasting.cpu(b, events)
						fresh, reused, ratios = append(fresh, f), append(reused, r), append(ratios, f/r)
					}
					once.close()
					lasting.close()
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(fresh), "fresh-µs")
			b.ReportMetric(median(reused), "reused-µs")
			b.ReportMetric(median(ratios), "ratio")
		})
	}
}

func median(l []float64) float64 {
	slices.Sort(l)
	return l[len(l)/2]
}

// sdkModule makes the responder of samples/sdk in a language ready.
func sdkModule(b *testing.B, language string) *Module {
	b.Helper()
	e, err := New(DefaultConfig(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Close() })
	bin, err := sdkFile(b.Context(), e, filepath.Join("..", "..", "samples", "sdk", language))
	if err != nil {
		b.Fatal(err)
	}
	m, err := e.Compile(b.Context(), bin)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.Close() })
	return m
}

// sdkFile builds the function in dir, or packs its source.
func sdkFile(ctx context.Context, e *Engine, dir string) ([]byte, error) {
	source, err := os.ReadFile(filepath.Join(dir, "mark-pod.js"))
	if errors.Is(err, fs.ErrNotExist) {
		return functions.Build(ctx, dir)
	}
	if err != nil {
		return nil, err
	}
	p, err := e.Pack(ctx, "mark-pod.js", source)
	if err != nil {
		return nil, err
	}
	return p.Module, nil
}

// A guest is an instance that handles one event after another, which find a fresh state or what the last one left.
type guest struct {
	module *Module
	inv    *Invocation
	in     *instance
	fresh  bool
}

// newGuest returns one that has handled a few events.
func newGuest(b *testing.B, m *Module, inv *Invocation, fresh bool) *guest {
	b.Helper()
	in, err := m.take(inv.Limits.Memory)
	if err != nil {
		b.Fatal(err)
	}
	g := &guest{m, inv, in, fresh}
	g.cpu(b, 5)
	return g
}

func (g *guest) close() { g.module.give(g.in, g.fresh) } // a state that has lasted is thrown away

// cpu is the processor time in µs of one of n events.
func (g *guest) cpu(b *testing.B, n int) float64 {
	b.Helper()
	start := usedCPU(b)
	for range n {
		c := &call{ctx: b.Context(), inv: g.inv, host: patched{}, report: &Report{}, clock: newStopwatch(g.inv.Limits.Timeout)}
		if g.fresh {
			c.watch.begin(g.in.memory)
		}
		status, err := g.module.handle(c, g.in)
		c.watch.end()
		if err != nil {
			b.Fatal(err)
		}
		if res, fault := c.result(status); fault != nil || res.Outcome != abi.OutcomeSucceeded {
			b.Fatalf("%+v, %v", res, fault)
		}
		if g.fresh {
			g.module.give(g.in, true)
			if g.in, err = g.module.take(g.inv.Limits.Memory); err != nil {
				b.Fatal(err)
			}
		}
	}
	return float64((usedCPU(b) - start).Nanoseconds()) / float64(n) / 1e3
}

// usedCPU is the processor time that the process has used. Not from getrusage, whose figures may move in steps of a tick.
func usedCPU(b *testing.B) time.Duration {
	b.Helper()
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}
