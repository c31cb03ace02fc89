//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// small is the least a responder does: it reads the event, makes one call and gives a result.
const small = `
export default function (event, tiercel) {
  if (event.priority !== "Warning" || !event.pod.exists) return tiercel.skip("not mine");
  const pod = event.pod.patch({ metadata: { labels: { "example.com/seen": "true" } } });
  tiercel.report("pod", pod.metadata.name);
}
`

func newEngine(b *testing.B, cache string) *sandbox.Engine {
	b.Helper()
	cfg := sandbox.DefaultConfig()
	cfg.CacheDir = cache
	e, err := sandbox.New(cfg, nil)
	if err != nil {
		b.Fatal(err)
	}
	return e
}

func pack(b *testing.B, e *sandbox.Engine, file, source string) *sandbox.Module {
	b.Helper()
	p, err := e.Pack(b.Context(), file, []byte(source))
	if err != nil {
		b.Fatal(err)
	}
	m, err := e.Compile(b.Context(), p.Module)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

func sampleEvent(b *testing.B) []byte {
	b.Helper()
	ev, err := os.ReadFile(filepath.Join("..", "functions", "testdata", "event.json"))
	if err != nil {
		b.Fatal(err)
	}
	return bytes.TrimSpace(ev)
}

var patched = answers{abi.OpKubernetesPatch: `{"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"checkout-7d9c5b6f4-x2x9k","namespace":"payments",` +
	`"uid":"0b6f1d1c-58f6-4d0e-9a43-6a8d6f8e2a11","resourceVersion":"123456789","labels":{"app":"checkout","pod-template-hash":"7d9c5b6f4"}},` +
	`"spec":{"nodeName":"node-7"},"status":{"phase":"Running","podIP":"10.4.3.17"}}}`}

// BenchmarkJavaScript is one event of 1.5 KB through a function in JavaScript, with one call and a result, in a fresh state and with its
// steps counted; and the responder of BenchmarkSDK in JavaScript and, as the baseline of the same run, in Go.
func BenchmarkJavaScript(b *testing.B) {
	mark, err := os.ReadFile(filepath.Join("..", "samples", "sdk", "javascript", "mark-pod.js"))
	if err != nil {
		b.Fatal(err)
	}
	ev := sampleEvent(b)
	for _, bm := range []struct {
		name string
		make func() *sandbox.Module
	}{
		{"baseline=go-mark-pod", func() *sandbox.Module { return module(b, filepath.Join("..", "samples", "sdk", "go")) }},
		{"mark-pod", func() *sandbox.Module { return pack(b, newEngine(b, ""), "mark-pod.js", string(mark)) }},
		{"small", func() *sandbox.Module { return pack(b, newEngine(b, ""), "small.js", small) }},
		{"nothing", func() *sandbox.Module { return pack(b, newEngine(b, ""), "nothing.js", "export default () => {}") }},
	} {
		b.Run(bm.name, func(b *testing.B) {
			m := bm.make()
			config, err := manifest.ApplyConfig(m.Manifest().Config, nil)
			if err != nil {
				b.Fatal(err)
			}
			inv := sandbox.Invocation{ID: "i", Event: ev, Config: config, Time: time.Unix(1795215521, 0)}
			least, most := time.Hour, time.Duration(0)
			start := cpu(b)
			for b.Loop() {
				began := time.Now()
				res, _, err := m.Handle(b.Context(), inv, patched)
				if err != nil || res.Outcome != abi.OutcomeSucceeded {
					b.Fatalf("%+v, %v", res, err)
				}
				took := time.Since(began)
				least, most = min(least, took), max(most, took)
			}
			b.ReportMetric(float64((cpu(b)-start).Nanoseconds())/float64(b.N)/1e3, "cpu-µs/op")
			b.ReportMetric(float64(least.Nanoseconds())/1e3, "least-µs")
		})
	}
}

// BenchmarkJavaScriptFirstEvent is what lies between a source and its first event handled: packing, checking and handling, with the engine
// compiled before (in this process, or by another one).
func BenchmarkJavaScriptFirstEvent(b *testing.B) {
	ev := sampleEvent(b)
	once := func(b *testing.B, e *sandbox.Engine, i int) {
		m := pack(b, e, "small.js", small+"// "+strconv.Itoa(i))
		res, _, err := m.Handle(b.Context(), sandbox.Invocation{Event: ev, Time: time.Unix(1795215521, 0)}, patched)
		if err != nil || res.Outcome != abi.OutcomeSucceeded {
			b.Fatalf("%+v, %v", res, err)
		}
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("same-process", func(b *testing.B) {
		e := newEngine(b, "")
		once(b, e, -1)
		i, start := 0, cpu(b)
		for b.Loop() {
			once(b, e, i)
			i++
		}
		b.ReportMetric(float64((cpu(b)-start).Nanoseconds())/float64(b.N)/1e6, "cpu-ms/op")
	})
	b.Run("new-process", func(b *testing.B) {
		cache := b.TempDir()
		e := newEngine(b, cache)
		once(b, e, -1)
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
		i, start := 0, cpu(b)
		for b.Loop() {
			e := newEngine(b, cache)
			once(b, e, i)
			if err := e.Close(); err != nil {
				b.Fatal(err)
			}
			i++
		}
		b.ReportMetric(float64((cpu(b)-start).Nanoseconds())/float64(b.N)/1e6, "cpu-ms/op")
	})
}

// BenchmarkJavaScriptMemory is what a thousand functions in one process take, each deployed and having handled an event.
func BenchmarkJavaScriptMemory(b *testing.B) {
	const functions = 1000
	ev := sampleEvent(b)
	for b.Loop() {
		before := resident(b)
		e := newEngine(b, "")
		var all []*sandbox.Module
		for i := range functions {
			m := pack(b, e, fmt.Sprintf("f%d.js", i), small)
			if _, _, err := m.Handle(b.Context(), sandbox.Invocation{Event: ev, Time: time.Unix(1795215521, 0)}, patched); err != nil {
				b.Fatal(err)
			}
			all = append(all, m)
		}
		runtime.GC()
		b.ReportMetric(float64(resident(b)-before)/1024, "MiB")
		b.ReportMetric(float64(resident(b)-before)/functions, "KiB/function")
		for _, m := range all {
			if err := m.Close(); err != nil {
				b.Fatal(err)
			}
		}
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// resident is the memory of the process in KiB, with what is mapped twice (an image, and what was read of it) counted once.
func resident(b *testing.B) int64 {
	b.Helper()
	rollup, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(rollup)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no Pss")
	return 0
}
