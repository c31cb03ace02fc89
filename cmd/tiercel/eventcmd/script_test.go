package eventcmd_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/eventcmd"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tiercel": func() { os.Exit(run()) }})
}

// run is `tiercel` with the command event alone.
func run() int {
	root := &cobra.Command{Use: "tiercel", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(eventcmd.New(cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	return cli.Report(os.Stderr, root.Execute())
}

// TestScripts runs each script beside an embedded server with the data directory $WORK/data.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			e.Setenv("HOME", e.WorkDir)
			cfg := bus.DefaultServerConfig()
			cfg.DataDir = filepath.Join(e.WorkDir, "data", "nats")
			s, err := bus.StartServer(t.Context(), cfg)
			if err != nil {
				return err
			}
			e.Defer(s.Close)
			bc := bus.DefaultConfig()
			bc.Server = s
			b, err := bus.Connect(t.Context(), bc)
			if err != nil {
				return err
			}
			e.Defer(b.Close)
			e.Values["bus"] = b
			e.Values["server"] = s
			e.Setenv("URL", s.URL())
			return b.EnsureStreams(t.Context())
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"publish": publish,
			// stop ends the server.
			"stop": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("server").(*bus.Server).Close() },
		},
	})
}

// publish FILE stores the events of a file, one JSON object a line.
func publish(ts *testscript.TestScript, _ bool, args []string) {
	b := ts.Value("bus").(*bus.Bus)
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		e, err := bus.Unmarshal([]byte(strings.TrimSpace(line)))
		ts.Check(err)
		ns, _, _ := strings.Cut(e.Subject, "/")
		m := &nats.Msg{Subject: string(bus.EventSubject(e.EventSource, e.Priority, e.Rule, ns, "n1")), Data: bus.Marshal(e)}
		_, err = b.JetStream().PublishMsg(context.Background(), m, jetstream.WithMsgID(e.ID))
		ts.Check(err)
	}
}

// TestErrorsAreReturned: the command leaves printing errors to its caller.
func TestErrorsAreReturned(t *testing.T) {
	var out, errs bytes.Buffer
	cmd := eventcmd.New(cli.Streams{Out: &out, Err: &errs})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs([]string{"get", "x", "--data", filepath.Join(t.TempDir(), strconv.Itoa(os.Getpid()))})
	if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
	if out.Len()+errs.Len() > 0 {
		t.Errorf("printed %q and %q", out.String(), errs.String())
	}
}

// TestTailEndsInPeace: a tail that is interrupted has not failed.
func TestTailEndsInPeace(t *testing.T) {
	cfg := bus.DefaultServerConfig()
	cfg.DataDir = t.TempDir()
	s, err := bus.StartServer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	bc := bus.DefaultConfig()
	bc.Server = s
	b, err := bus.Connect(t.Context(), bc)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.EnsureStreams(t.Context(), bus.RoleSensor); err != nil {
		t.Fatal(err)
	}
	m := &nats.Msg{Subject: string(bus.EventSubject("syscall", "Notice", "rule", "ns", "n1")), Data: []byte("no event, and that is printed")}
	if _, err := b.JetStream().PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := eventcmd.New(cli.Streams{Out: told(cancel), Err: told(cancel)})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs([]string{"tail", "--all", "--data", cfg.DataDir})
	if err := cmd.ExecuteContext(ctx); err != nil {
		t.Errorf("got %v", err)
	}
}

// told is a writer that calls itself whenever something is written.
type told func()

func (f told) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}
