package fncmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/actioncmd"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// An invoke is what fn invoke was told.
type invoke struct {
	file, event string
	dryRun      bool
	timeout     time.Duration
	format      cli.Format
}

func newInvoke(s cli.Streams, flags *connect.Flags) *cobra.Command {
	var o invoke
	cmd := &cobra.Command{
		Use:   "invoke NAME {-f FILE | --event ID}",
		Short: "Run a deployed function on an event by hand",
		Long: "Have a runtime run a function on an event from a file or from the stream, whether its triggers select it or not, and show the action. It\n" +
			"does what the function does, in the function's mode: --dry-run rehearses. Age, duplicates and budgets hold nothing back, protected\n" +
			"namespaces and the stop switch do.",
		Example: "  tiercel fn invoke isolate-pod -f event.json --dry-run\n  tiercel fn invoke notify --event node-7-01JD8Y4J9Q6W0V7N3M5K2T8RXA",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.file == "" && o.event == "" {
				return &cli.Error{
					Err: errors.New("which event? give -f FILE or --event ID"), Code: cli.ExitUsage,
					Hint: "fn init makes one in testdata/event.json; tiercel event tail shows those there were",
				}
			}
			b, st, err := open(cmd.Context(), flags)
			if err != nil {
				return err
			}
			defer b.Close()
			event, err := o.read(cmd.Context(), s, b)
			if err != nil {
				return err
			}
			e, err := st.Get(cmd.Context(), token(args[0]))
			if err != nil {
				return explain(cmd.Context(), st, err, args[0])
			}
			if doc, err := e.Parse(); err != nil || e.Suspended || doc.Spec.Suspend {
				return errors.Join(err, &cli.Error{Err: fmt.Errorf("%s is suspended", args[0]), Hint: "tiercel fn resume " + args[0]})
			}
			return o.run(cmd.Context(), s, b, e, event)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.file, "filename", "f", "", `file with the event, a CloudEvent as JSON; "-": standard input`)
	f.StringVar(&o.event, "event", "", "id of an event of the stream")
	f.BoolVar(&o.dryRun, "dry-run", false, "rehearse, whatever the function's mode")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to wait for the outcome")
	cmd.MarkFlagsMutuallyExclusive("filename", "event")
	o.format.Flag(cmd, cli.Table, cli.JSON, cli.YAML)
	return cmd
}

// read returns the event.
func (o *invoke) read(ctx context.Context, s cli.Streams, b *bus.Bus) ([]byte, error) {
	if o.event != "" {
		r, err := b.Event(ctx, o.event)
		if errors.Is(err, bus.ErrNotFound) {
			return nil, &cli.Error{Err: err, Hint: "tiercel event tail --all --follow=false -o json lists those that are kept"}
		}
		if err != nil {
			return nil, err
		}
		return bus.Marshal(r.Event), nil
	}
	in := s.In
	if o.file != "-" {
		f, err := os.Open(o.file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, 4*abi.MaxEvent))
	if err != nil {
		return nil, err
	}
	e, err := bus.Unmarshal(data)
	if err == nil {
		_, err = e.Match()
	}
	if err != nil {
		return nil, &cli.Error{Err: fmt.Errorf("%s: %w", o.file, err), Hint: "tiercel event get ID -o json prints one; fn init makes one in testdata/event.json"}
	}
	return bus.Marshal(e), nil
}

// run asks for the invocation, waits for its outcome and shows it.
func (o *invoke) run(ctx context.Context, s cli.Streams, b *bus.Bus, e *store.Entry, event []byte) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	outcomes := make(chan *nats.Msg, 256)
	sub, err := b.Conn().ChanSubscribe(bus.OutcomesSubjects, outcomes)
	if err != nil {
		return err
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection ends anyway
	id, err := runtime.Invoke(ctx, b, e.ID, event, cli.Whoami(), o.dryRun)
	if err != nil {
		return err
	}
	for settled := false; !settled; {
		select {
		case m := <-outcomes:
			out, err := bus.Decode(m.Header, m.Data)
			settled = err == nil && out.ID == id+"/settled"
		case <-ctx.Done():
			return &cli.Error{
				Err:  fmt.Errorf("no outcome within %s", o.timeout),
				Hint: "it stays asked for, and is done as soon as a runtime can: tiercel action get " + id,
			}
		}
	}
	j := journal.New(journal.DefaultConfig(), b)
	a, err := find(ctx, j, id)
	if err != nil {
		return err
	}
	if o.format != cli.Table {
		err = o.format.Print(s.Out, a)
	} else {
		err = actioncmd.Describe(ctx, s.Out, b, j, a)
	}
	if err == nil && a.Outcome != journal.Succeeded && a.Outcome != journal.Skipped {
		return cli.ErrSilent
	}
	return err
}

// find returns an action whose outcome has been announced. It is stored while that happens, so it may be there a moment later.
func find(ctx context.Context, j *journal.Journal, id string) (*journal.Action, error) {
	for {
		a, err := j.Find(ctx, id, time.Time{})
		if !errors.Is(err, journal.ErrNotFound) {
			return a, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}
