//go:build bench

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// answers is a host that answers each operation at once.
type answers map[string]string

func (a answers) Call(_ context.Context, op string, _ []byte) ([]byte, error) {
	if answer, ok := a[op]; ok {
		return []byte(answer), nil
	}
	return nil, abi.NewError(abi.CodeUnsupported, op)
}

// cpu is the processor time that the process has used. Not from getrusage, whose figures may move in steps of a tick.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

const (
	sdkRounds = 5    // of which the median counts
	sdkEvents = 1000 // of each language in a round
)

// BenchmarkSDK is the same responder in each language (samples/sdk): it reads an event of 1.5 KB, asks for its configuration, writes a line
// to the log, patches the pod, reads the answer and gives a result. Each event finds a fresh state, and its steps are counted. The baseline is
// what Go itself, outside of any sandbox, takes to read the event with encoding/json; all take turns, and the medians of the rounds are
// reported, in processor time of the process and as multiples of the baseline. What the fresh state costs is BenchmarkFreshState in
// runtime/sandbox.
func BenchmarkSDK(b *testing.B) {
	ev, err := os.ReadFile(filepath.Join("..", "functions", "testdata", "event.json"))
	if err != nil {
		b.Fatal(err)
	}
	host := answers{abi.OpKubernetesPatch: `{"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"checkout-7d9c5b6f4-x2x9k","namespace":"payments",` +
		`"uid":"0b6f1d1c-58f6-4d0e-9a43-6a8d6f8e2a11","resourceVersion":"123456789","labels":{"app":"checkout","pod-template-hash":"7d9c5b6f4"}},` +
		`"spec":{"nodeName":"node-7"},"status":{"phase":"Running","podIP":"10.4.3.17"}}}`}
	type contender struct {
		name string
		once func()
		cpu  []time.Duration // of one event, by round
	}
	contenders := []*contender{{name: "encoding-json", once: func() {
		var v any
		if err := json.Unmarshal(ev, &v); err != nil {
			b.Fatal(err)
		}
	}}}
	for _, language := range []string{"c", "rust", "assemblyscript", "go", "javascript"} {
		m := sdkModule(b, language)
		config, err := manifest.ApplyConfig(m.Manifest().Config, nil)
		if err != nil {
			b.Fatal(err)
		}
		inv := sandbox.Invocation{ID: "i", Function: language, Event: bytes.TrimSpace(ev), Config: config, Time: time.Unix(1795215521, 0)}
		contenders = append(contenders, &contender{name: language, once: func() {
			res, _, err := m.Handle(b.Context(), inv, host)
			if err != nil || res.Outcome != abi.OutcomeSucceeded {
				b.Fatalf("%s: %+v, %v", language, res, err)
			}
		}})
	}
	for b.Loop() {
		for range sdkRounds {
			for _, c := range contenders {
				start := cpu(b)
				for range sdkEvents {
					c.once()
				}
				c.cpu = append(c.cpu, (cpu(b)-start)/sdkEvents)
			}
		}
	}
	var baseline float64
	for i, c := range contenders {
		slices.Sort(c.cpu)
		median := float64(c.cpu[len(c.cpu)/2].Nanoseconds())
		b.ReportMetric(median/1e3, c.name+"-µs")
		if i == 0 {
			baseline = median
			continue
		}
		b.ReportMetric(median/baseline, c.name+"-ratio")
	}
}

// sdkModule makes the responder of samples/sdk in a language ready.
func sdkModule(b *testing.B, language string) *sandbox.Module {
	b.Helper()
	dir := filepath.Join("..", "samples", "sdk", language)
	if language != "javascript" {
		return module(b, dir)
	}
	source, err := os.ReadFile(filepath.Join(dir, "mark-pod.js"))
	if err != nil {
		b.Fatal(err)
	}
	e := newEngine(b, "")
	b.Cleanup(func() { _ = e.Close() })
	m := pack(b, e, "mark-pod.js", string(source))
	b.Cleanup(func() { _ = m.Close() })
	return m
}

// module builds the function in dir and makes it ready.
func module(b *testing.B, dir string) *sandbox.Module {
	b.Helper()
	wasm, err := functions.Build(b.Context(), dir)
	if err != nil {
		b.Fatal(err)
	}
	e, err := sandbox.New(sandbox.DefaultConfig(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Close() })
	m, err := e.Compile(b.Context(), wasm)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.Close() })
	return m
}
