package sensorcmd_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/rulecmd"
	"github.com/tiercel-project/tiercel/cmd/tiercel/sensorcmd"
	"github.com/tiercel-project/tiercel/sensor"
	"github.com/tiercel-project/tiercel/sensor/capture/capturetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sensor": func() { os.Exit(run("sensor")) }, "rule": func() { os.Exit(run("rule")) }})
}

// run is `tiercel sensor` or `tiercel rule`.
func run(which string) int {
	s := cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	cmd := rulecmd.New(s, sensor.Provider())
	if which == "sensor" {
		cmd = &cobra.Command{Use: "sensor"}
		cmd.AddCommand(sensorcmd.New(s, "test")...)
	}
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	return cli.Report(os.Stderr, cmd.Execute())
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Setup: func(e *testscript.Env) error {
		e.Setenv("TZ", "UTC")
		name := filepath.Join(e.WorkDir, "shell.capture")
		if err := capturetest.WriteFile(name, capturetest.Shell()); err != nil {
			return err
		}
		whole, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(e.WorkDir, "cut.capture"), whole[:len(whole)-100], 0o600); err != nil {
			return err
		}
		whole[len(whole)-100] ^= 1
		return os.WriteFile(filepath.Join(e.WorkDir, "broken.capture"), whole, 0o600)
	}})
}
