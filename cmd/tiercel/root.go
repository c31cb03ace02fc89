package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/actioncmd"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/doctor"
	"github.com/tiercel-project/tiercel/cmd/tiercel/eventcmd"
	"github.com/tiercel-project/tiercel/cmd/tiercel/fncmd"
	"github.com/tiercel-project/tiercel/cmd/tiercel/rulecmd"
	"github.com/tiercel-project/tiercel/sensor"
)

// newRoot returns the command tree.
func newRoot(s cli.Streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "tiercel",
		Short: "Watch Linux and Kubernetes from the kernel up, and answer",
		Long: "Tiercel matches kernel and audit events against Falco rules, publishes each match as a CloudEvent on a NATS subject of its own,\n" +
			"and runs WebAssembly functions on them.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.AddCommand(newRun(s)...)
	root.AddCommand(eventcmd.New(s), rulecmd.New(s, sensor.Provider()), fncmd.New(s), actioncmd.New(s), actioncmd.NewStop(s),
		actioncmd.NewStart(s), doctor.New(s), newVersion(s))
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		if cmd.Flags().Lookup("nats") == nil || cmd.Flags().Lookup("config") != nil { // the others look at no variable, or log
			return
		}
		for _, v := range strays(os.Environ()) {
			fmt.Fprintf(s.Err, "warning: environment variable %s is no setting", v.name)
			if v.nearest != "" {
				fmt.Fprintf(s.Err, " (did you mean %s?)", v.nearest)
			}
			fmt.Fprintln(s.Err)
		}
	}
	cli.Strict(root)
	return root
}

// versionInfo is what version -o json prints.
type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source, if the build recorded it
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersion(s cli.Streams) *cobra.Command {
	var format cli.Format
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := versionInfo{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			if bi, ok := debug.ReadBuildInfo(); ok {
				for _, set := range bi.Settings {
					if set.Key == "vcs.revision" {
						v.Revision = set.Value
					}
				}
			}
			if format == cli.JSON {
				return json.NewEncoder(s.Out).Encode(v)
			}
			if format == cli.YAML {
				return format.Print(s.Out, v)
			}
			fmt.Fprintf(s.Out, "tiercel %s (%s, %s)\n", v.Version, v.Go, v.Platform)
			return nil
		},
	}
	format.Flag(cmd, cli.Table, cli.JSON, cli.YAML)
	return cmd
}
