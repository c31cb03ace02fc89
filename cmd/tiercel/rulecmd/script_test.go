package rulecmd_test

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/rulecmd"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rule": func() { os.Exit(run()) }})
}

// run is `tiercel rule`, with a source that gives no quotactl events and no evt.cpu.
func run() int {
	cmd := rulecmd.New(cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, rules.Provider{
		Event: func(_ string, t field.EventType) bool { return t != field.EventQuotactl },
		Field: func(_ string, ref *field.Ref) bool { return ref.ID != field.EvtCPU },
	})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	return cli.Report(os.Stderr, cmd.Execute())
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Setup: func(e *testscript.Env) error {
		e.Setenv("TZ", "UTC")
		return nil
	}})
}
