//go:build bench

package bench

import (
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
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// BenchmarkIdleFunction is what a function takes that has handled an event and waits for the next, beyond its image: memory that is the
// process's own, code and all. Many functions of one module (bundled responders have many documents), and each with a module or source of
// its own. The baseline, instance-KiB, is the memory of an instance that had no image: what it begins with.
func BenchmarkIdleFunction(b *testing.B) {
	source, err := os.ReadFile(filepath.Join("..", "samples", "sdk", "javascript", "mark-pod.js"))
	if err != nil {
		b.Fatal(err)
	}
	c, golang := build(b, "c"), build(b, "go")
	for _, bm := range []struct {
		name string
		n    int
		file func(b *testing.B, e *sandbox.Engine, i int) []byte
	}{
		{"c/one-module", 500, func(*testing.B, *sandbox.Engine, int) []byte { return c }},
		{"c/a-module-each", 200, func(_ *testing.B, _ *sandbox.Engine, i int) []byte { return distinct(c, i) }},
		{"go/one-module", 500, func(*testing.B, *sandbox.Engine, int) []byte { return golang }},
		{"go/a-module-each", 10, func(_ *testing.B, _ *sandbox.Engine, i int) []byte { return distinct(golang, i) }},
		{"javascript/a-source-each", 500, func(b *testing.B, e *sandbox.Engine, i int) []byte {
			p, err := e.Pack(b.Context(), "mark-pod.js", fmt.Appendf(nil, "%s// %d\n", source, i))
			if err != nil {
				b.Fatal(err)
			}
			return p.Module
		}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			for b.Loop() {
				idle(b, bm.n, bm.file)
			}
		})
	}
}

// distinct is the same module with another digest.
func distinct(module []byte, i int) []byte {
	name := "bench" + strconv.Itoa(i)
	body := append([]byte{byte(len(name))}, name...)
	return append(append([]byte(nil), module...), wasm.Encode([]wasm.Section{{Body: body}})[len(wasm.Header):]...)
}

func idle(b *testing.B, n int, file func(*testing.B, *sandbox.Engine, int) []byte) {
	e, err := sandbox.New(sandbox.Config{CacheDir: b.TempDir(), Slots: 2, Idle: n + 1}, nil)
	if err != nil {
		b.Fatal(err)
	}
	ev := sampleEvent(b)
	handled := func(i int) *sandbox.Module {
		m, err := e.Compile(b.Context(), file(b, e, i))
		if err != nil {
			b.Fatal(err)
		}
		config, err := manifest.ApplyConfig(m.Manifest().Config, nil)
		if err != nil {
			b.Fatal(err)
		}
		res, _, err := m.Handle(b.Context(), sandbox.Invocation{ID: "i", Event: ev, Config: config, Time: time.Unix(1795215521, 0)}, patched)
		if err != nil || res.Outcome != abi.OutcomeSucceeded {
			b.Fatalf("%+v, %v", res, err)
		}
		return m
	}
	all := []*sandbox.Module{handled(0)} // what a runtime has once: an engine, a compiler's tables
	before := anonymousKiB(b)
	for i := range n {
		all = append(all, handled(1+i))
	}
	b.ReportMetric(float64(anonymousKiB(b)-before)/float64(n), "KiB/function")
	b.ReportMetric(float64(all[0].Memory())/1024, "instance-KiB")
	for _, m := range all {
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
}

// anonymousKiB is the memory of the process that is its own: images, which are shared, are not in it.
func anonymousKiB(b *testing.B) int64 {
	b.Helper()
	runtime.GC()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return kb
}
