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

// BenchmarkFreshState is what a fresh state for every event costs: the responder of samples/sdk in each language, in an instance that is put
// back after each event, next to the same in one that is re-used as it is. All of them take turns; the medians of the rounds are reported, in
// processor time.
func BenchmarkFreshState(b *testing.B) {
	ev, err := os.ReadFile("../../functions/testdata/event.json")
	if err != nil {
		b.Fatal(err)
	}
	type contender struct {
		language      string
		module        *Module
		inv           *Invocation
		fresh, reused []float64 // of one event in µs, by round
	}
	var contenders []*contender
	for _, language := range []string{"c", "rust", "assemblyscript", "go", "javascript"} {
		m := sdkModule(b, language)
		config, err := manifest.ApplyConfig(m.Manifest().Config, nil)
		if err != nil {
			b.Fatal(err)
		}
		inv := &Invocation{ID: "i", Function: language, Event: bytes.TrimSpace(ev), Config: config, Time: time.Unix(1795215521, 0)}
		inv.Limits = inv.Limits.withDefaults()
		contenders = append(contenders, &contender{language: language, module: m, inv: inv})
	}
	const rounds, events = 5, 1000
	for b.Loop() {
		for range rounds {
			for _, c := range contenders {
				c.fresh = append(c.fresh, roundCPU(b, c.module, c.inv, events, true))
				c.reused = append(c.reused, roundCPU(b, c.module, c.inv, events, false))
			}
		}
	}
	for _, c := range contenders {
		slices.Sort(c.fresh)
		slices.Sort(c.reused)
		f, r := c.fresh[len(c.fresh)/2], c.reused[len(c.reused)/2]
		b.ReportMetric(f, c.language+"-fresh-µs")
		b.ReportMetric(r, c.language+"-reused-µs")
		b.ReportMetric(f/r, c.language+"-ratio")
	}
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
