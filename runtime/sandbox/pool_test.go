package sandbox_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// No more instances wait than the engine may keep, of all modules together; the one that has waited longest goes.
func TestPool(t *testing.T) {
	e, err := sandbox.New(sandbox.Config{CacheDir: sandbox.TestCache, Slots: 1, Idle: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var modules []*sandbox.Module
	for i := range 4 {
		a := good()
		a.manifest = fmt.Sprintf(`{"abi":"tiercel_v1","name":"pool-%d","version":"1","needs":{}}`, i)
		modules = append(modules, compile(t, e, a.bytes(t)))
	}
	waiting := func() (got []int) {
		for _, m := range modules {
			n, diffs := m.Differences()
			if len(diffs) > 0 {
				t.Errorf("an instance that waits differs: %v", diffs)
			}
			got = append(got, n)
		}
		return got
	}
	for _, step := range []struct {
		run  int
		want string
	}{{0, "[1 0 0 0]"}, {1, "[1 1 0 0]"}, {0, "[1 1 0 0]"}, {2, "[1 0 1 0]"}, {3, "[0 0 1 1]"}, {2, "[0 0 1 1]"}, {0, "[1 0 1 0]"}} {
		if _, _, err := modules[step.run].Handle(t.Context(), invocation(event("x")), &answers{}); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(waiting()); got != step.want {
			t.Errorf("after an event for %d: %s wait, want %s", step.run, got, step.want)
		}
	}
	for _, m := range modules {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := fmt.Sprint(waiting()); got != "[0 0 0 0]" {
		t.Errorf("after Close: %s", got)
	}
}

// anonymous is the memory of this process in bytes that is its own: images, which instances share, are not in it.
func anonymous(t testing.TB) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no RssAnon")
	return 0
}

// A thousand functions in one process, each of which has handled an event: what one takes beyond its image, which is the same for all
// functions of one module. In JavaScript each has a source, and so an image, of its own.
func BenchmarkThousandFunctions(b *testing.B) {
	const n = 1000
	for _, language := range []string{"go, one module", "javascript, a source each"} {
		b.Run(language, func(b *testing.B) {
			for b.Loop() {
				e, err := sandbox.New(sandbox.Config{CacheDir: sandbox.TestCache, Slots: 2, Idle: n}, nil)
				if err != nil {
					b.Fatal(err)
				}
				files := make([][]byte, n)
				for i := range files {
					if strings.HasPrefix(language, "javascript") {
						p, err := e.Pack(b.Context(), "f.js", fmt.Appendf(nil, "export const manifest = {name: \"f-%d\"};\nexport default function (event, tiercel) { tiercel.report(\"n\", %d) }\n", i, i))
						if err != nil {
							b.Fatal(err)
						}
						files[i] = p.Module
					} else if files[i] = files[0]; i == 0 {
						bin, err := functions.Build(b.Context(), filepath.Join("testdata", "isolation", "go"))
						if err != nil {
							b.Fatal(err)
						}
						files[i] = bin
					}
				}
				runtime.GC()
				before := anonymous(b)
				modules := make([]*sandbox.Module, n)
				for i := range modules {
					modules[i] = compile(b, e, files[i])
					config, err := manifest.ApplyConfig(modules[i].Manifest().Config, nil)
					if err != nil {
						b.Fatal(err)
					}
					inv := invocation(event("plain"))
					inv.Config = config
					if _, _, err := modules[i].Handle(b.Context(), inv, &answers{}); err != nil {
						b.Fatal(err)
					}
				}
				runtime.GC()
				b.ReportMetric(float64(anonymous(b)-before)/(1<<20), "MiB")
				for _, m := range modules {
					_ = m.Close()
				}
				_ = e.Close()
			}
		})
	}
}
