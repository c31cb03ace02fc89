//go:build bench

package bench

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// A first is a host that notes when it is first asked for something of the world.
type first struct{ at time.Time }

func (f *first) Call(_ context.Context, op string, _ []byte) ([]byte, error) {
	if f.at.IsZero() {
		f.at = time.Now()
	}
	if op != abi.OpKubernetesDelete {
		return nil, abi.NewError(abi.CodeUnsupported, op)
	}
	return []byte(`{"uid":"0b6f1d1c-58f6-4d0e-9a43-6a8d6f8e2a11"}`), nil
}

// BenchmarkResponderLanguage is what the language of a bundled responder costs on the way from event to effect: the same responder,
// kill-pod, in JavaScript as it is bundled and in Go (testdata/kill-pod), alternating, from the moment the event is handed to the sandbox
// until the host is asked for the effect. All else on that way is the same. Reported are the medians and their difference.
func BenchmarkResponderLanguage(b *testing.B) {
	file := filepath.Join("..", "functions", "kill-pod", "kill-pod.js")
	source, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	e := newEngine(b, "")
	b.Cleanup(func() { _ = e.Close() })
	modules := []*sandbox.Module{pack(b, e, file, string(source)), module(b, filepath.Join("testdata", "kill-pod"))}
	took := make([][]time.Duration, len(modules))
	ev := sampleEvent(b)
	for b.Loop() {
		for i, m := range modules {
			config, err := manifest.ApplyConfig(m.Manifest().Config, nil)
			if err != nil {
				b.Fatal(err)
			}
			host := &first{}
			start := time.Now()
			res, _, err := m.Handle(b.Context(), sandbox.Invocation{ID: "i", Function: "kill-pod", Event: ev, Config: config, Time: time.Unix(1795215521, 0)}, host)
			if err != nil || res.Outcome != abi.OutcomeSucceeded {
				b.Fatalf("%+v, %v", res, err)
			}
			took[i] = append(took[i], host.at.Sub(start))
		}
	}
	var median [2]float64
	for i := range took {
		slices.Sort(took[i])
		median[i] = float64(took[i][len(took[i])/2].Nanoseconds()) / 1e6
	}
	b.ReportMetric(median[0], "JavaScript-ms")
	b.ReportMetric(median[1], "Go-ms")
	b.ReportMetric(median[0]-median[1], "difference-ms")
}
