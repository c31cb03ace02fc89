//go:build bench

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/store"
	"github.com/tiercel-project/tiercel/runtime/testcase"
)

// BenchmarkLoop is one change of a function in JavaScript, as tiercel fn init makes it and with what tiercel fn dev does on a save: the
// source is written, packed, run on its cases and deployed, and an event is answered by the new text. Without the moment that fn dev waits
// for an editor to be done (its const quiet). The median and the longest are reported.
func BenchmarkLoop(b *testing.B) {
	p := newPlant(b)
	actions := make(chan *journal.Action, 1000)
	p.run(b, atOnce{}, func(a *journal.Action) { actions <- a })
	dir := filepath.Join(b.TempDir(), "loop")
	if _, err := functions.WriteTemplate(dir, "loop", "javascript"); err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(dir, "loop.js")
	template, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	n := 0
	for b.Loop() {
		n++
		start := time.Now()
		mark := fmt.Sprintf("change %d", n)
		source := strings.Replace(string(template), "export default", "const change = \""+mark+"\";\nexport default", 1)
		source = strings.Replace(source, "  event.pod.label(", "  tiercel.report(\"change\", change);\n  event.pod.label(", 1)
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			b.Fatal(err)
		}
		module := p.develop(b, file)
		for i := 0; ; i++ { // the runtime may answer the first with the text before
			id := fmt.Sprintf("n1-loop-%d-%d", n, i)
			<-p.publish(b, event(b, id, "Loop")).Ok()
			if a := <-actions; a.Pins.Module == module {
				if !strings.Contains(string(a.End.Data), mark) {
					b.Fatalf("%+v", a.End)
				}
				break
			}
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "p50-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1e3, "max-ms")
}

// develop runs the cases of a source and deploys it, and returns its module's digest.
func (p *plant) develop(b *testing.B, file string) (digest string) {
	b.Helper()
	ctx := context.Background()
	d := p.deployer()
	d.Pack = p.engine.Pack
	docs, err := d.Documents(ctx, file)
	if err != nil {
		b.Fatal(err)
	}
	source, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	m := pack(b, p.engine, file, string(source))
	defer m.Close()
	cases, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "testdata", testcase.Pattern))
	if len(cases) == 0 {
		b.Fatal("there are no cases")
	}
	config, err := manifest.ApplyConfig(m.Manifest().Config, nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range cases {
		loaded, err := testcase.Load(c, testcase.Defaults{Config: config})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := loaded.Run(ctx, m, sandbox.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
	done, err := d.Deploy(ctx, docs[0], store.ByCLI, "bench")
	if err != nil {
		b.Fatal(err)
	}
	return done.Entry.Module
}
