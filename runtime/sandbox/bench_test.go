package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// usage is what the process has used: CPU time, and page faults.
func usage(b *testing.B) (cpu time.Duration, faults int64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), u.Minflt
}

// reportUsage reports what was used since, per operation.
func reportUsage(b *testing.B, cpu time.Duration, faults int64) {
	nowCPU, nowFaults := usage(b)
	b.ReportMetric(float64((nowCPU-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(nowFaults-faults)/float64(b.N), "faults/op")
}

// replies answers each operation with the same response.
type replies map[string]string

func (r replies) Call(_ context.Context, op string, _ []byte) ([]byte, error) {
	if answer, ok := r[op]; ok {
		return []byte(answer), nil
	}
	return nil, abi.NewError(abi.CodeUnsupported, op)
}

// BenchmarkInvocation is one event through a responder in Go: a fresh instance, the event of 1.9 KB, its calls answered at once.
func BenchmarkInvocation(b *testing.B) {
	ev, err := os.ReadFile(filepath.Join("..", "..", "functions", "testdata", "event.json"))
	if err != nil {
		b.Fatal(err)
	}
	host := replies{
		abi.OpKubernetesPatch:  `{"object":{"metadata":{"name":"checkout","uid":"u","labels":{"app":"checkout"}}}}`,
		abi.OpKubernetesCreate: `{"object":{"metadata":{"name":"tiercel-isolate"}}}`,
		abi.OpKubernetesList:   `{"items":[{"metadata":{"name":"allow-dns"},"spec":{"podSelector":{},"egress":[{"ports":[{"port":53}]}]}}]}`,
		abi.OpKubernetesDelete: `{"uid":"u"}`,
		abi.OpHTTP:             `{"status":200}`,
	}
	for _, bm := range []struct{ name, config string }{
		{"isolate-pod", ""},
		{"notify", `{"url":"https://hooks.slack.com/x"}`},
	} {
		b.Run(bm.name, func(b *testing.B) {
			e := newEngine(b, 4)
			m := compile(b, e, build(b, bm.name))
			config, err := manifest.ApplyConfig(m.Manifest().Config, []byte(bm.config))
			if err != nil {
				b.Fatal(err)
			}
			inv := sandbox.Invocation{ID: "i", Function: bm.name, Event: ev, Config: config, Time: time.Unix(1795215521, 0)}
			var fuel int64
			var setup, guest time.Duration
			b.ReportAllocs()
			cpu, faults := usage(b)
			for b.Loop() {
				_, report, err := m.Handle(b.Context(), inv, host)
				if err != nil {
					b.Fatal(err)
				}
				fuel = report.Fuel
				setup, guest = setup+report.Setup, guest+report.Guest
			}
			n := float64(b.N)
			reportUsage(b, cpu, faults)
			b.ReportMetric(float64(setup.Nanoseconds())/n, "setup-ns/op")
			b.ReportMetric(float64(guest.Nanoseconds())/n, "guest-ns/op")
			b.ReportMetric(float64(fuel), "fuel/op")
		})
	}
}

// build compiles one of the responders in Go that benchmarks have.
func build(b *testing.B, name string) []byte {
	b.Helper()
	bin, err := functions.Build(b.Context(), filepath.Join("..", "..", "bench", "testdata", name))
	if err != nil {
		b.Fatal(err)
	}
	return bin
}

// BenchmarkCompile makes a module ready: new to this machine, and known from the cache folder.
func BenchmarkCompile(b *testing.B) {
	bin := build(b, "isolate-pod")
	for _, cached := range []bool{false, true} {
		name := map[bool]string{false: "cold", true: "cached"}[cached]
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			once := func(dir string) {
				e, err := sandbox.New(sandbox.Config{CacheDir: dir, Slots: 1}, nil)
				if err != nil {
					b.Fatal(err)
				}
				compile(b, e, bin)
				if err := e.Close(); err != nil {
					b.Fatal(err)
				}
			}
			if cached {
				once(dir)
			}
			cpu, faults := usage(b)
			for b.Loop() {
				if !cached {
					dir = b.TempDir()
				}
				once(dir)
			}
			reportUsage(b, cpu, faults)
			b.SetBytes(int64(len(bin)))
		})
	}
}

// BenchmarkValidate is what fn deploy pays before a module is compiled.
func BenchmarkValidate(b *testing.B) {
	bin := build(b, "isolate-pod")
	b.SetBytes(int64(len(bin)))
	for b.Loop() {
		if _, err := sandbox.Validate(bin); err != nil {
			b.Fatal(err)
		}
	}
}
