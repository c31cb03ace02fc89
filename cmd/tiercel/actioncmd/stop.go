package actioncmd

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/runtime/guard"
)

// NewStop returns the command tiercel stop.
func NewStop(s cli.Streams) *cobra.Command {
	var reason string
	var freeze bool
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "Stop all functions, everywhere, at once",
		Long: "Stop all functions: from now on no runtime changes anything, until tiercel start. A runtime that cannot confirm that this switch is off\n" +
			"changes nothing either. What runs is suspended before its next change. Matches are still published. Reverts go on, unless --freeze.",
		Example: "  tiercel stop --reason \"isolating the wrong pods\"",
		Args:    cobra.NoArgs,
	}
	flags := connect.AddFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := turn(cmd, flags, guard.Stop{Stopped: true, Freeze: freeze, Reason: reason}); err != nil {
			return err
		}
		fmt.Fprintln(s.Out, "stopped: no function changes anything until tiercel start")
		if freeze {
			fmt.Fprintln(s.Out, "frozen: reverts do not happen either, what is isolated stays so")
		}
		return nil
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the others")
	cmd.Flags().BoolVar(&freeze, "freeze", false, "hold reverts back too: what is isolated stays isolated")
	return cmd
}

// NewStart returns the command tiercel start.
func NewStart(s cli.Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Let functions act again after tiercel stop",
		Long:  "Let functions act again after tiercel stop. Events that came meanwhile are handled, those older than a function's maxAge end as expired.",
		Args:  cobra.NoArgs,
	}
	flags := connect.AddFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := turn(cmd, flags, guard.Stop{}); err != nil {
			return err
		}
		fmt.Fprintln(s.Out, "started")
		return nil
	}
	return cmd
}

func turn(cmd *cobra.Command, flags *connect.Flags, stop guard.Stop) error {
	b, err := flags.Connect(cmd.Context())
	if err != nil {
		return err
	}
	defer b.Close()
	state, err := b.KeyValue(cmd.Context(), bus.BucketState)
	if err != nil {
		return &cli.Error{Err: err, Hint: "start tiercel run or tiercel runtime once, which makes the buckets"}
	}
	stop.By, stop.Time = cli.Whoami(), time.Now().UTC()
	return guard.WriteStop(cmd.Context(), state, stop)
}
