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

// A first is a host that notes when it is first asked for an effect.
type first struct{ at time.Time }

func (f *first) Call(_ context.Context, op string, _ []byte) ([]byte, error) {
	if answer, ok := effects[op]; ok {
		if f.at.IsZero() {
			f.at = time.Now()
		}
		return []byte(answer), nil
	}
	if op == abi.OpKubernetesList {
		return []byte(`{"items":[]}`), nil
	}
	return nil, abi.NewError(abi.CodeUnsupported, op)
}

var effects = map[string]string{
	abi.OpKubernetesDelete: `{"uid":"0b6f1d1c-58f6-4d0e-9a43-6a8d6f8e2a11"}`,
	abi.OpKubernetesPatch:  `{"object":{"metadata":{"labels":{"app":"checkout"}}}}`,
	abi.OpKubernetesCreate: `{"object":{"metadata":{"name":"tiercel-isolate"}}}`,
	abi.OpHTTP:             `{"status":200}`,
}

// BenchmarkResponderLanguage is what the language of a bundled responder costs on the way from event to effect: the same responder in
// JavaScript as it is bundled and in Go (testdata), alternating, from the moment the event is handed to the sandbox until the host is asked
// for the effect, the first of two in isolate-pod. All else on that way is the same. Reported are the medians and their difference.
func BenchmarkResponderLanguage(b *testing.B) {
	for name, config := range map[string]string{"isolate-pod": "", "kill-pod": "", "notify": `{"url":"https://hooks.slack.com/x"}`} {
		b.Run(name, func(b *testing.B) { compareLanguages(b, name, config) })
	}
}

func compareLanguages(b *testing.B, name, config string) {
	file := filepath.Join("..", "functions", name, name+".js")
	source, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	e := newEngine(b, "")
	b.Cleanup(func() { _ = e.Close() })
	modules := []*sandbox.Module{pack(b, e, file, string(source)), module(b, filepath.Join("testdata", name))}
	took, whole := make([][]time.Duration, len(modules)), make([][]time.Duration, len(modules))
	ev := sampleEvent(b)
	for b.Loop() {
		for i, m := range modules {
			config, err := manifest.ApplyConfig(m.Manifest().Config, []byte(config))
			if err != nil {
				b.Fatal(err)
			}
			host := &first{}
			start := time.Now()
			res, _, err := m.Handle(b.Context(), sandbox.Invocation{ID: "i", Function: name, Event: ev, Config: config, Time: time.Unix(1795215521, 0)}, host)
			if err != nil || res.Outcome != abi.OutcomeSucceeded {
				b.Fatalf("%+v, %v", res, err)
			}
			took[i], whole[i] = append(took[i], host.at.Sub(start)), append(whole[i], time.Since(start))
		}
	}
	b.ReportMetric(medianOf(took[0]), "JavaScript-ms")
	b.ReportMetric(medianOf(took[1]), "Go-ms")
	b.ReportMetric(medianOf(took[0])-medianOf(took[1]), "difference-ms")
	b.ReportMetric(medianOf(whole[0])-medianOf(whole[1]), "whole-difference-ms")
}

// medianOf returns the median in milliseconds. It sorts took.
func medianOf(took []time.Duration) float64 {
	slices.Sort(took)
	return float64(took[len(took)/2].Nanoseconds()) / 1e6
}
