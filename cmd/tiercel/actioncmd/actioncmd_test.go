package actioncmd

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/bustest"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/guard"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// data starts a server as tiercel run does.
func data(t *testing.T) (string, *bus.Bus) {
	t.Helper()
	cfg := bus.DefaultServerConfig()
	cfg.DataDir = t.TempDir()
	return cfg.DataDir, bustest.Start(t, cfg)
}

func run(t *testing.T, make func(cli.Streams) *cobra.Command, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := make(cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	code = cli.Report(&errs, cmd.ExecuteContext(context.Background()))
	return code, out.String(), errs.String()
}

// sample is an action of one read, one change that can be undone and one that cannot.
func sample(at time.Time) (journal.Claim, []journal.Call, journal.End) {
	ms := func(n int) time.Time { return at.Add(time.Duration(n) * time.Millisecond) }
	claim := journal.Claim{
		Function: function.ID{Tenant: "default", Name: "isolate-pod", UID: "01A"}, Mode: capability.Enforce, Decision: "run",
		Pins: journal.Pins{Revision: 3, Module: "sha256:00", ABI: abi.ImportModule},
		Event: journal.EventRef{
			ID: "n1-1", Time: at, Published: ms(1), Started: ms(2), Rule: "Terminal shell in container", Priority: "Warning",
			Address: "tiercel.events.syscall.warning.terminal_shell_in_container.payments.n1",
			Target:  bus.Target{Node: "n1", Namespace: "payments", Pod: "web-1", PodUID: "u1", Image: "evil\x1b[31m:latest", PID: 42},
		},
	}
	calls := []journal.Call{
		{Step: 1, Op: "kubernetes.get", Start: ms(3), Done: ms(5)},
		{
			Step: 2, Op: "kubernetes.create", Start: ms(5), Done: ms(9), Effect: "x.2", Object: "networkpolicies/payments/q", RevertAt: ms(900_000),
			Prepared: &capability.Prepared{
				Write: true, Summary: "create networkpolicies payments/q",
				Inverse: &capability.Inverse{Op: "kubernetes.create", Summary: "delete networkpolicies payments/q"},
			},
		},
		{
			Step: 3, Op: "http", Start: ms(9), Done: ms(12), Effect: "x.3", Tries: 1,
			Prepared: &capability.Prepared{Write: true, Summary: "POST https://hooks.example", Inverse: &capability.Inverse{Irreversible: "what is told is told"}},
		},
		{Step: 4, Op: "kubernetes.get", Start: ms(12), Done: ms(13), Error: abi.NewError(abi.CodeDenied, "secrets are not granted")},
	}
	return claim, calls, journal.End{Outcome: journal.Succeeded, Text: "isolated", Log: []journal.LogLine{{Level: "info", Text: "policy made"}}, Data: []byte(`{"left":[]}`)}
}

func TestDescribe(t *testing.T) {
	time.Local = time.UTC
	at := time.Date(2026, 1, 2, 3, 4, 5, 123456000, time.UTC)
	claim, calls, end := sample(at)
	enforced := &journal.Action{
		ID: "01X", Function: claim.Function, Mode: claim.Mode, Event: claim.Event, Pins: claim.Pins, Outcome: end.Outcome, End: end, Calls: calls,
		Attempts: []journal.Attempt{
			{Number: 1, Runtime: "r1", Time: at.Add(6 * time.Millisecond), Decision: "run", Ended: "suspended: connection refused"},
			{Number: 2, Runtime: "r2", Time: at.Add(8 * time.Millisecond), Decision: "resumed", Ended: "ended"},
		},
		Ended: at.Add(14 * time.Millisecond), Sealed: at.Add(15 * time.Millisecond),
	}
	reverted := &journal.Action{ID: "01X/revert/1", Outcome: journal.Succeeded, End: journal.End{Text: "1 undone"}, Revert: &journal.RevertOf{Invocation: "01X", By: "timer"}, Ended: at.Add(time.Hour)}
	dry := *enforced
	dry.Mode, dry.Attempts = capability.DryRun, nil
	dry.Calls = []journal.Call{{
		Step: 1, Op: "kubernetes.patch", Start: at, Done: at, Rehearsed: true, Prepared: &capability.Prepared{Summary: "patch pods payments/web-1: metadata.labels"},
		Before: []byte(`{"metadata":{"labels":{"app":"web","old":"1"},"name":"web-1"},"spec":{"a":1,"b":2,"c":3,"d":4}}`),
		After:  []byte(`{"metadata":{"labels":{"app":"web","quarantine":"u1"},"name":"web-1"},"spec":{"a":1,"b":2,"c":3,"d":4}}`),
	}}
	pending := *enforced
	pending.Outcome, pending.End, pending.Ended, pending.Sealed = journal.Pending, journal.End{}, time.Time{}, time.Time{}
	pending.Waiting = &journal.Suspend{Step: 3, Until: at.Add(time.Minute), Cause: "connection refused"}
	pending.Calls = append([]journal.Call(nil), calls[:3]...)
	pending.Calls[2].Done = time.Time{}
	skips := &journal.Action{
		ID: "01Y", Function: claim.Function, Event: claim.Event, Outcome: journal.Skipped, End: journal.End{Outcome: journal.Skipped, Reason: "duplicate"},
		Skips: &journal.Skips{Reason: "duplicate", Count: 2, Events: []string{"n1-2", "n1-3"}, First: at, Last: at.Add(time.Second)},
	}
	for _, c := range []struct {
		name    string
		a       *journal.Action
		reverts []*journal.Action
	}{{"enforced", enforced, nil}, {"reverted", enforced, []*journal.Action{reverted}}, {"dryrun", &dry, nil}, {"pending", &pending, nil}, {"skips", skips, nil}} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			describe(&b, c.a, c.reverts)
			file := filepath.Join("testdata", c.name+".golden")
			if *update {
				if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if strings.ContainsRune(b.String(), '\x1b') {
				t.Error("a control character of the event reached the terminal")
			}
		})
	}
}

// undoer takes back whatever it is told to.
type undoer struct{ runtime.Capabilities }

func (undoer) Revert(context.Context, capability.Scope, *capability.Inverse, string) (capability.Result, error) {
	return capability.Result{Object: "gone"}, nil
}

func TestListGetRevert(t *testing.T) {
	d, b := data(t)
	j := journal.New(journal.DefaultConfig(), b)
	claim, calls, end := sample(time.Now())
	id := claim.Function.Invocation(claim.Event.ID, claim.Event.Time, "")
	log := j.Begin(claim.Function.Token(), id, claim, nil)
	for _, c := range calls {
		if err := log.Add(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, _ := run(t, New, "list", "--data", d)
	if code != 0 || strings.Count(stdout, "\n") != 1 {
		t.Errorf("nothing is there yet: %d %q", code, stdout)
	}
	if err := log.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, stdout, _ := run(t, New, "list", "--data", d, "--status", "pending"); !strings.Contains(stdout, id) {
		t.Errorf("a running action is not listed: %q", stdout)
	}
	a, last, err := log.End(t.Context(), end)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Seal(t.Context(), a, last, false); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"--function", "isolate-pod"}, {"--function", "default/isolate-pod", "--status", "succeeded", "--namespace", "payments", "-o", "wide"}} {
		if code, stdout, stderr := run(t, New, append([]string{"list", "--data", d}, args...)...); code != 0 || !strings.Contains(stdout, id) {
			t.Errorf("list %v: %d %q %q", args, code, stdout, stderr)
		}
	}
	for _, args := range [][]string{{"--function", "other"}, {"--status", "failed"}, {"--namespace", "-"}, {"--since", "1ns"}} {
		if code, stdout, _ := run(t, New, append([]string{"list", "--data", d}, args...)...); code != 0 || strings.Contains(stdout, id) {
			t.Errorf("list %v: %d %q", args, code, stdout)
		}
	}
	_, stdout, _ = run(t, New, "get", id, "--data", d, "-o", "json")
	var got journal.Action
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.ID != id || len(got.Calls) != 4 {
		t.Errorf("get: %v %s", err, stdout)
	}
	if code, _, stderr := run(t, New, "get", "01HF7YAT00AAAAAAAAAAAAAAAA", "--data", d); code != 1 || !strings.Contains(stderr, "hint: tiercel action list") {
		t.Errorf("get of none: %d %q", code, stderr)
	}
	if code, _, stderr := run(t, New, "revert", id, "--timeout", "300ms", "--data", d); code != 1 || !strings.Contains(stderr, "as soon as a runtime can") {
		t.Errorf("revert without a runtime: %d %q", code, stderr)
	}
	start(t, b)
	code, stdout, stderr := run(t, New, "revert", id, "--data", d)
	if code != 0 && !strings.Contains(stderr, "was undone at") { // what was asked for above may have been quicker
		t.Errorf("revert: %d %q %q", code, stdout, stderr)
	}
	if code, stdout, stderr := run(t, New, "revert", id, "--data", d); code != 1 || !strings.Contains(stderr, "was undone at") {
		t.Errorf("second revert: %d %q %q", code, stdout, stderr)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if done, err := ask(ctx, b, j, a); err != nil || done.ID != id+"/revert/1" { // as somebody does who looked before it was undone
		t.Errorf("a revert that another's came before: %v, %v", done, err)
	}
	if _, stdout, _ := run(t, New, "get", id, "--data", d); !strings.Contains(stdout, "revert "+id+"/revert/1 by ") {
		t.Errorf("get after the revert: %q", stdout)
	}
}

func start(t *testing.T, b *bus.Bus) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := runtime.New(ctx, runtime.DefaultConfig(), runtime.Deps{Bus: b, Capabilities: undoer{}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestStopStart(t *testing.T) {
	d, b := data(t)
	state, err := b.KeyValue(t.Context(), bus.BucketState)
	if err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := run(t, NewStop, "--reason", "drill", "--freeze", "--data", d); code != 0 || !strings.Contains(stdout, "frozen") {
		t.Errorf("stop: %d %q %q", code, stdout, stderr)
	}
	if s, err := guard.ReadStop(t.Context(), state); err != nil || !s.Stopped || !s.Freeze || s.Reason != "drill" || s.By == "" {
		t.Errorf("got %+v, %v", s, err)
	}
	if code, _, stderr := run(t, NewStart, "--data", d); code != 0 {
		t.Errorf("start: %d %q", code, stderr)
	}
	if s, err := guard.ReadStop(t.Context(), state); err != nil || s.Stopped {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestDifference(t *testing.T) {
	got := strings.Join(difference(strings.Split("a b c d e f g h", " "), strings.Split("a b x d e f g h i", " ")), "\n")
	want := "  a\n  b\n- c\n+ x\n  d\n  e\n  …\n  g\n  h\n+ i"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
