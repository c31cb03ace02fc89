package fncmd_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/actioncmd"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/eventcmd"
	"github.com/tiercel-project/tiercel/cmd/tiercel/fncmd"
	"github.com/tiercel-project/tiercel/functions/builtin"
	"github.com/tiercel-project/tiercel/runtime"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tiercel": func() { os.Exit(run()) }})
}

// run is `tiercel` with the commands that the scripts use.
func run() int {
	s := cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	root := &cobra.Command{Use: "tiercel", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(fncmd.New(s), actioncmd.New(s), eventcmd.New(s))
	cli.Strict(root)
	return cli.Report(os.Stderr, root.Execute())
}

// TestScripts runs each script in an empty home, beside an embedded server and a runtime with the data directory that tiercel run has by
// itself. There is no cluster.
func TestScripts(t *testing.T) {
	p := params(t)
	p.Dir = "testdata/script"
	testscript.Run(t, p)
}

func params(t *testing.T) testscript.Params {
	t.Helper()
	cache, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	dirs := strings.Fields(string(cache))
	modules := t.TempDir()
	return testscript.Params{
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CACHE_HOME", modules)
			e.Setenv("GOCACHE", dirs[0])
			e.Setenv("GOMODCACHE", dirs[1])
			e.Setenv("GOPROXY", "off")
			return start(t, e, modules)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"publish": publish, "id": id, "until": until, "await": await},
	}
}

// start starts what tiercel run has without root and without a cluster: server and runtime.
func start(t *testing.T, e *testscript.Env, modules string) error {
	scfg := bus.DefaultServerConfig()
	scfg.DataDir = filepath.Join(e.WorkDir, "data", "nats")
	s, err := bus.StartServer(t.Context(), scfg)
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
	if err := b.EnsureStreams(t.Context()); err != nil {
		return err
	}
	cfg := sandbox.DefaultConfig()
	cfg.CacheDir = modules
	engine, err := sandbox.New(cfg, nil)
	if err != nil {
		return err
	}
	e.Defer(func() { _ = engine.Close() })
	kv, err := b.KeyValue(t.Context(), bus.BucketKV)
	if err != nil {
		return err
	}
	artifacts, err := b.ObjectStore(t.Context(), bus.StoreArtifacts)
	if err != nil {
		return err
	}
	registry, err := capability.New(capability.Config{KV: kv, Artifacts: artifacts})
	if err != nil {
		return err
	}
	r, err := runtime.New(t.Context(), runtime.DefaultConfig(), runtime.Deps{
		Bus: b, Capabilities: registry, Free: engine.Free, Builtin: builtin.Module,
		Compile: func(ctx context.Context, module []byte) (runtime.Guest, error) {
			m, err := engine.Compile(ctx, module)
			if err != nil {
				return nil, err
			}
			return m, nil
		},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	e.Defer(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("runtime: %v", err)
		}
	})
	return nil
}

// id sets $ID to the first action's id that the last command printed.
func id(ts *testscript.TestScript, _ bool, _ []string) {
	found := regexp.MustCompile(`\b0[0-9A-Z]{25}\b`).FindString(ts.ReadFile("stdout"))
	if found == "" {
		ts.Fatalf("no id was printed")
	}
	ts.Setenv("ID", found)
}

// until PATTERN ARGS… runs tiercel with the arguments until what it prints matches.
func until(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile("(?m)" + args[0])
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if err := ts.Exec("tiercel", args[1:]...); err == nil && re.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("tiercel %v does not print %q", args[1:], args[0])
		}
	}
}

// await FILE PATTERN waits until a file that a command in the background writes matches.
func await(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile("(?m)" + args[1])
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && re.Match(text) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s does not match %q: %s", args[0], args[1], text)
		}
	}
}

// publish FILE stores the event of a file as the sensor of its node would.
func publish(ts *testscript.TestScript, _ bool, args []string) {
	b := ts.Value("bus").(*bus.Bus)
	e, err := bus.Unmarshal([]byte(strings.TrimSpace(ts.ReadFile(args[0]))))
	ts.Check(err)
	m, err := e.Match()
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	msg := &nats.Msg{Subject: string(bus.EventSubject(m.Source, m.Priority, m.Rule, m.Target.Namespace, m.Target.Node)), Data: bus.Marshal(e)}
	_, err = b.JetStream().PublishMsg(ctx, msg, jetstream.WithMsgID(e.ID))
	ts.Check(err)
}
