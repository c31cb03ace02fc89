package functions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/functions/builtin"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata")

// Every bundled responder, compiled and in the real sandbox, against scripted answers: testdata/<responder>/*.txtar. A file has the parts
// event.json (default: ../event.json), config.json, answers (one line each: operation, then a response or !code and text), and
// the golden parts calls, result and log.
func TestResponders(t *testing.T) {
	standard, err := os.ReadFile("testdata/event.json")
	if err != nil {
		t.Fatal(err)
	}
	e, err := sandbox.New(sandbox.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, dir := range []string{"sdk/go", "abi"} {
		noteSources(dir)
	}
	for _, name := range builtin.Names() {
		noteSources(name)
		wasm, err := functions.Build(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := e.Compile(t.Context(), wasm)
		if err != nil {
			t.Fatal(err)
		}
		files, _ := filepath.Glob(filepath.Join("testdata", name, "*.txtar"))
		if len(files) == 0 {
			t.Errorf("%s has no cases", name)
		}
		for _, file := range files {
			t.Run(name+"/"+strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
				testResponder(t, m, file, standard)
			})
		}
	}
}

// noteSources opens the Go files of a folder: go test keeps no result of a test whose files have changed, but does not see what the go
// command reads that the test starts.
func noteSources(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, file := range files {
		_, _ = os.ReadFile(file)
	}
}

func testResponder(t *testing.T, m *sandbox.Module, file string, event []byte) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string][]byte{"event.json": event}
	for _, f := range archive.Files {
		parts[f.Name] = f.Data
	}
	config, err := manifest.ApplyConfig(m.Manifest().Config, parts["config.json"])
	if err != nil {
		t.Fatal(err)
	}
	host := &script{t: t, answers: strings.Split(strings.TrimSpace(string(parts["answers"])), "\n")}
	inv := sandbox.Invocation{
		ID: "inv-7f3a", Function: m.Manifest().Name, Event: bytes.TrimSpace(parts["event.json"]), Config: config,
		Time: time.Date(2026, 11, 21, 1, 2, 3, 0, time.UTC),
	}
	res, report, err := m.Handle(t.Context(), inv, host)
	if err != nil {
		t.Fatal(err)
	}
	if len(host.answers) > 0 && host.answers[0] != "" {
		t.Errorf("not asked for: %q", host.answers)
	}
	result, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	for _, l := range report.Log {
		fmt.Fprintf(&log, "%s %s\n", l.Level, l.Text)
	}
	golden(t, file, archive, map[string]string{"calls": host.calls.String(), "result": string(result) + "\n", "log": log.String()})
}

// golden compares the golden parts of a file, or rewrites them.
func golden(t *testing.T, file string, archive *txtar.Archive, got map[string]string) {
	t.Helper()
	for _, name := range []string{"calls", "result", "log"} {
		i := len(archive.Files)
		for k, f := range archive.Files {
			if f.Name == name {
				i = k
			}
		}
		if i == len(archive.Files) {
			archive.Files = append(archive.Files, txtar.File{Name: name})
		}
		if diff := cmp.Diff(string(archive.Files[i].Data), got[name]); diff != "" && !*update {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		archive.Files[i].Data = []byte(got[name])
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A script is a host that gives prepared answers in their order.
type script struct {
	t       *testing.T
	answers []string
	calls   strings.Builder
}

func (s *script) Call(_ context.Context, op string, request []byte) ([]byte, error) {
	fmt.Fprintf(&s.calls, "%s %s\n", op, request)
	if len(s.answers) == 0 || s.answers[0] == "" {
		return nil, &sandbox.Stop{Err: fmt.Errorf("no answer left for %s %s", op, request)}
	}
	wantOp, answer, _ := strings.Cut(s.answers[0], " ")
	s.answers = s.answers[1:]
	if wantOp != op {
		s.t.Errorf("asked for %s %s, the script has %s", op, request, wantOp)
	}
	if failure, ok := strings.CutPrefix(answer, "!"); ok {
		code, text, _ := strings.Cut(failure, " ")
		return nil, abi.NewError(abi.Code(code), text)
	}
	return []byte(answer), nil
}
