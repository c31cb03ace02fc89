package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/builtin"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/testcase"
)

// A trace is all of a run that has to be the same in the next.
type trace struct {
	Requests, Log []string
	Result        string
	Fuel, Memory  int64
	Calls         int
}

// A traced module remembers the report of its last run.
type traced struct {
	*sandbox.Module
	trace trace
}

func (m *traced) Handle(ctx context.Context, inv sandbox.Invocation, host sandbox.Host) (abi.Result, *sandbox.Report, error) {
	res, report, err := m.Module.Handle(ctx, inv, host)
	b, merr := json.Marshal(res)
	m.trace = trace{Result: string(b), Fuel: report.Fuel, Memory: report.Memory, Calls: report.Calls}
	return res, report, errors.Join(err, merr)
}

func (m *traced) run(t *testing.T, c *testcase.Case) trace {
	t.Helper()
	run, err := c.Run(t.Context(), m, sandbox.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range run.Requests {
		m.trace.Requests = append(m.trace.Requests, r.Op+" "+string(r.Body))
	}
	for _, l := range run.Log {
		m.trace.Log = append(m.trace.Log, l.Level.String()+" "+l.Text)
	}
	return m.trace
}

// testDeterminism runs the cases of a folder (events with recorded answers of the host) on a function in two engines, the second of which
// finds what the first has made of it: each case several times and in another order, so that what went before differs.
func testDeterminism(t *testing.T, bin []byte, cases string) {
	event, err := os.ReadFile(filepath.Join("..", "..", "functions", "testdata", "event.json"))
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(cases, testcase.Pattern))
	if len(files) == 0 {
		t.Fatalf("%s has no cases", cases)
	}
	want := map[string]trace{}
	var image string
	dir := t.TempDir()
	for range 2 {
		e, err := sandbox.New(sandbox.Config{CacheDir: dir, Slots: 2}, nil)
		if err != nil {
			t.Fatal(err)
		}
		m := &traced{Module: compile(t, e, bin)}
		if image == "" {
			image = m.Image()
		} else if got := m.Image(); got != image {
			t.Errorf("sealed as %s, and as %s", image, got)
		}
		for range 3 {
			for _, file := range files {
				c, err := testcase.Load(file, testcase.Defaults{Event: event})
				if err != nil {
					t.Fatal(err)
				}
				got := m.run(t, c)
				if w, seen := want[file]; !seen {
					want[file] = got
				} else if diff := cmp.Diff(w, got); diff != "" {
					t.Errorf("%s (-first +now):\n%s", file, diff)
				}
			}
			slices.Reverse(files)
		}
		if err := errors.Join(m.Close(), e.Close()); err != nil {
			t.Error(err)
		}
	}
}

// The same event and the same answers give the same requests, bytes and steps, for every bundled responder.
func TestDeterminismOfResponders(t *testing.T) {
	names := builtin.Names()
	if len(names) < 3 {
		t.Fatalf("bundled responders: %v", names)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("..", "..", "functions", name)
			noteSources(dir)
			bin, err := functions.Build(t.Context(), dir)
			if errors.Is(err, os.ErrNotExist) { // no manifest.json: one whose source is deployed
				bin, err = builtin.Module(name)
			}
			if err != nil {
				t.Fatal(err)
			}
			testDeterminism(t, bin, filepath.Join(dir, "testdata"))
		})
	}
}
