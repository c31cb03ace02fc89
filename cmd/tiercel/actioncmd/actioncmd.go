// Package actioncmd is the command tiercel action, which tells what functions did and undoes it, and the stop switch: tiercel stop and
// tiercel start.
package actioncmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/revert"
)

// New returns the command tiercel action.
func New(s cli.Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "action",
		Short: "See what functions did, and undo it",
		Long: "An action is one function handling one event: what it decided, asked for, changed, and how it ended. Actions are read from the tiercel\n" +
			"that runs on this machine, or from the NATS server given.",
		Args: cobra.NoArgs,
	}
	flags := connect.AddFlags(cmd)
	cmd.AddCommand(newList(s, flags), newGet(s, flags), newRevert(s, flags), newArtifact(s, flags))
	return cmd
}

// open connects. Close the bus.
func open(ctx context.Context, flags *connect.Flags) (*bus.Bus, *journal.Journal, error) {
	b, err := flags.Connect(ctx, bus.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, nil, err
	}
	if _, err := b.JetStream().Stream(ctx, bus.StreamActions); err != nil {
		b.Close()
		return nil, nil, &cli.Error{Err: fmt.Errorf("stream %s: %w", bus.StreamActions, err), Hint: "start tiercel run or tiercel runtime once, which makes the streams"}
	}
	return b, journal.New(journal.DefaultConfig(), b), nil
}

// find returns an action, running or sealed.
func find(ctx context.Context, j *journal.Journal, id string) (*journal.Action, error) {
	a, err := j.Action(ctx, id)
	if errors.Is(err, journal.ErrNotFound) {
		return nil, &cli.Error{Err: fmt.Errorf("there is no action %q", id), Hint: "tiercel action list shows those there are"}
	}
	return a, err
}

// reverts returns the reverts of an action that are on record, the first first.
func reverts(ctx context.Context, b *bus.Bus, j *journal.Journal, a *journal.Action) ([]*journal.Action, error) {
	state, err := b.KeyValue(ctx, bus.BucketState)
	if err != nil {
		return nil, err
	}
	n, _, err := revert.Progress(ctx, state, a.ID)
	if err != nil {
		return nil, err
	}
	var out []*journal.Action
	for i := 1; i <= n; i++ {
		r, err := j.Find(ctx, revert.ID(a.ID, i), a.Ended.Add(-time.Minute))
		if errors.Is(err, journal.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}
