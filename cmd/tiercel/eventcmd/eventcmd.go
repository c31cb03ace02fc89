// Package eventcmd is the command tiercel event: it reads events back from the bus.
package eventcmd

import (
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
)

// New returns the command.
func New(s cli.Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "event",
		Short: "Read events",
		Long: "Read the events of the stream EVENTS: from the tiercel that runs on this machine, or from the NATS server given. Any NATS\n" +
			"client can do the same, see docs/events.md.",
		Args: cobra.NoArgs,
	}
	flags := connect.AddFlags(cmd)
	cmd.AddCommand(newTail(s, flags), newGet(s, flags))
	return cmd
}

type tailOptions struct {
	query  bus.Query
	since  time.Duration
	until  time.Duration
	follow bool
	count  int
	format cli.Format
}

func newTail(s cli.Streams, flags *connect.Flags) *cobra.Command {
	var o tailOptions
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print events as they come",
		Example: `  tiercel event tail --priority warning
  tiercel event tail --rule "Terminal shell in container" --namespace payments -o json
  tiercel event tail --since 1h --follow=false --rule "*shell*"
  tiercel event tail -n 1                        # wait for the next one`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.complete(cmd); err != nil {
				return err
			}
			b, err := flags.Connect(cmd.Context())
			if err != nil {
				return err
			}
			defer b.Close()
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM) // the usual end of a tail, so no error
			defer stop()
			return tail(ctx, s, b, &o)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.query.Rules, "rule", nil, "only this rule; * and ? are wildcards; may be given several times")
	f.StringSliceVar(&o.query.Namespaces, "namespace", nil, `only these namespaces; "-" is the host`)
	f.StringSliceVar(&o.query.Sources, "source", nil, "only these sources: syscall, k8s_audit, …")
	f.StringVar(&o.query.Node, "node", "", "only this node")
	f.StringVar(&o.query.Priority, "priority", "", "only this priority and above: emergency, alert, critical, error, warning, notice, informational, debug")
	f.BoolVar(&o.query.All, "all", false, "begin with the oldest event that is kept")
	f.DurationVar(&o.since, "since", 0, "begin with those stored this long ago, as 90s, 10m, 24h")
	f.DurationVar(&o.until, "until", 0, "end with those stored this long ago")
	f.BoolVarP(&o.follow, "follow", "f", true, "wait for more; if false, end with what is stored now (from --since, default all)")
	f.IntVarP(&o.count, "number", "n", 0, "end after this many events; 0 means no end")
	cmd.MarkFlagsMutuallyExclusive("all", "since")
	o.format.Flag(cmd, "text", cli.JSON)
	priority := []string{"emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"}
	_ = cmd.RegisterFlagCompletionFunc("priority", cobra.FixedCompletions(priority, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder))
	return cmd
}

// complete turns flags into the query.
func (o *tailOptions) complete(cmd *cobra.Command) error {
	now := time.Now()
	switch {
	case o.since < 0, o.until < 0:
		return cli.Usagef("--since and --until are how long ago: give positive durations")
	case o.count < 0:
		return cli.Usagef("--number %d is negative", o.count)
	case cmd.Flags().Changed("since"):
		o.query.Since = now.Add(-o.since)
	case !o.follow:
		o.query.All = true
	}
	if cmd.Flags().Changed("until") {
		o.query.Until, o.follow = now.Add(-o.until), false
	}
	if !o.follow && o.query.Since.IsZero() {
		o.query.All = true
	}
	if err := o.query.Validate(); err != nil {
		return cli.Usagef("%v", err)
	}
	return nil
}

func newGet(s cli.Streams, flags *connect.Flags) *cobra.Command {
	var format cli.Format
	cmd := &cobra.Command{
		Use:   "get ID",
		Short: "Print one event",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usagef("event get takes one event's id, as event tail -o json prints it")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := flags.Connect(cmd.Context())
			if err != nil {
				return err
			}
			defer b.Close()
			r, err := b.Event(cmd.Context(), args[0])
			if errors.Is(err, bus.ErrNotFound) {
				return &cli.Error{Err: err, Hint: "the stream keeps events for some days only; tiercel event tail --all --follow=false lists them"}
			}
			if err != nil {
				return err
			}
			return format.Print(s.Out, raw(r))
		},
	}
	format.Flag(cmd, cli.YAML, cli.JSON)
	return cmd
}

// raw is the event as it was published, for printing.
func raw(r *bus.Received) any { return jsonText(bus.Marshal(r.Event)) }

// A jsonText is JSON that is printed as it is.
type jsonText []byte

// MarshalJSON returns the text.
func (t jsonText) MarshalJSON() ([]byte, error) { return t, nil }

func badMessage(err error) string { return fmt.Sprintf("warning: %v", err) }
