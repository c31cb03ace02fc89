package sensorcmd

import (
	"bufio"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/rulecmd"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor"
	"github.com/tiercel-project/tiercel/sensor/capture"
)

// text is the format of lines as `tiercel run` prints them.
const text cli.Format = "text"

func (c *command) replay() *cobra.Command {
	var format cli.Format
	var paths []string
	var match string
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Match the kernel events of a capture against rules",
		Long: "Drive the kernel events that tiercel sensor record wrote into FILE through the sensor, and print its alerts with the times of the\n" +
			"events. It asks nothing but the file: the same file and rules give the same alerts on every machine. It needs no root.",
		Example: "  tiercel sensor replay incident.capture -r my_rules.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := matching(match)
			if err != nil {
				return err
			}
			return c.runReplay(args[0], paths, m, format)
		},
	}
	format.Flag(cmd, text, cli.JSON)
	cmd.Flags().StringArrayVarP(&paths, "rules", "r", nil, "rules file or directory, may be repeated; default the embedded rules")
	cmd.Flags().StringVar(&match, "rule-matching", "first", "first or all: how many rules may match one event")
	return cmd
}

// runReplay prints the alerts that rules give for the capture name. What is whole of a capture is replayed before its error is returned.
func (c *command) runReplay(name string, paths []string, m rules.Matching, format cli.Format) error {
	out := bufio.NewWriter(c.Out)
	alerts := 0
	var line []byte
	r := sensor.Replay{
		Rules: func(h capture.Header) (*rules.Set, error) {
			return rulecmd.Load(c.Streams, paths, options(h.Hostname, m))
		},
		Alert: func(a *rules.Alert) {
			alerts++
			if format == cli.JSON {
				line = a.AppendJSON(line[:0])
			} else {
				line = a.AppendText(line[:0])
			}
			_, _ = out.Write(append(line, '\n')) // Flush says whether it failed
		},
	}
	err := r.Run(name)
	if ferr := out.Flush(); ferr != nil {
		return fmt.Errorf("write alerts: %w", ferr)
	}
	if r.Events > 0 {
		fmt.Fprintf(c.Err, "%d events, %d alerts\n", r.Events, alerts)
	}
	return withHint(err)
}

// withHint says what to do about what is wrong with a capture.
func withHint(err error) error {
	if hint := captureHint(err); hint != "" {
		return &cli.Error{Err: err, Hint: hint}
	}
	return err
}
