package main

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/sensorcmd"
)

// A part is one of the parts that a command of this file runs.
type part uint8

const (
	partSensor part = 1 << iota
	partRuntime
)

// newRun returns the commands run, sensor and runtime, which differ in the parts they start.
func newRun(s cli.Streams) []*cobra.Command {
	sensor := newDaemon(s, partSensor, "sensor", "Run the sensor: kernel events, rules, CloudEvents",
		"Run the sensor of this node. Without --nats a NATS server is embedded. Needs root and a kernel with BTF.")
	sensor.AddCommand(sensorcmd.New(s, version)...)
	return []*cobra.Command{
		newDaemon(s, partSensor|partRuntime, "run", "Run everything in one process: sensor, bus and functions",
			"Run the sensor, the bus and the function runtime in one process. Without --nats a NATS server is embedded: it keeps its files in\n"+
				"--data and listens on loopback for the other commands. Needs root and a kernel with BTF."),
		sensor,
		newDaemon(s, partRuntime, "runtime", "Run the function runtime on events from NATS",
			"Run functions on the events of the bus. Any number of runtimes share the work."),
	}
}

func newDaemon(s cli.Streams, parts part, name, short, long string) *cobra.Command {
	cfg := defaultDaemonConfig()
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		Long:  long,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := applyConfig(cmd, &cfg.nested)
			if err != nil {
				return err
			}
			if err := cfg.Validate(); err != nil {
				return &cli.Error{Err: from.locate(err), Code: cli.ExitUsage}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal ends the process at once
			return runDaemon(ctx, s, cfg, parts)
		},
	}
	cfg.addFlags(cmd.Flags(), parts)
	return cmd
}
