package actioncmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/revert"
)

func newRevert(s cli.Streams, flags *connect.Flags) *cobra.Command {
	var timeout time.Duration
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "revert ID",
		Short: "Undo what an action changed",
		Long: "Undo what an action changed, the latest first. A runtime does it, as an action of its own. What cannot be undone (deletion,\n" +
			"notification) is said.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, j, err := open(cmd.Context(), flags)
			if err != nil {
				return err
			}
			defer b.Close()
			a, err := find(cmd.Context(), j, args[0])
			if err != nil {
				return err
			}
			if err := revertible(cmd.Context(), b, j, a); err != nil {
				return err
			}
			for _, c := range a.Effects() {
				fmt.Fprintf(s.Out, "undo: %s\n", safe(c.Undo().Summary))
			}
			if dryRun {
				return nil
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			done, err := ask(ctx, b, j, a)
			if errors.Is(err, context.DeadlineExceeded) {
				return &cli.Error{Err: fmt.Errorf("not done within %s", timeout), Hint: "it stays asked for, and is done as soon as a runtime can: see tiercel action get " + a.ID}
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(s.Out, "%s: %s: %s\n", done.ID, done.Outcome, safe(done.End.Text))
			if done.Outcome != journal.Succeeded {
				return cli.ErrSilent
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait until it is done")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be undone")
	return cmd
}

// revertible returns an error if there is nothing to undo.
func revertible(ctx context.Context, b *bus.Bus, j *journal.Journal, a *journal.Action) error {
	if len(a.Effects()) == 0 && a.Outcome != journal.Pending {
		hint := "it changed nothing"
		for _, c := range a.Calls {
			if u := c.Undo(); u != nil && u.Irreversible != "" {
				hint = c.Op + ": " + u.Irreversible
			}
		}
		return &cli.Error{Err: fmt.Errorf("action %s has nothing that can be undone", a.ID), Hint: hint}
	}
	rs, err := reverts(ctx, b, j, a)
	if err != nil {
		return err
	}
	if undone(rs) {
		r := rs[len(rs)-1]
		return &cli.Error{Err: fmt.Errorf("action %s was undone at %s", a.ID, clock(r.Ended)), Hint: "see tiercel action get " + r.ID}
	}
	return nil
}

// ask has a runtime undo the action, and returns the revert once it is on record: this one, or another's that came first.
func ask(ctx context.Context, b *bus.Bus, j *journal.Journal, a *journal.Action) (*journal.Action, error) {
	state, err := b.KeyValue(ctx, bus.BucketState)
	if err != nil {
		return nil, err
	}
	n, _, err := revert.Progress(ctx, state, a.ID)
	if err != nil {
		return nil, err
	}
	if err := revert.Ask(ctx, b, revert.Request{Function: a.Function, Invocation: a.ID, By: cli.Whoami(), Manual: true}, ulid.Make().String()); err != nil {
		return nil, err
	}
	n, err = revert.Wait(ctx, state, a.ID, n)
	if err != nil {
		return nil, err
	}
	return j.Find(ctx, revert.ID(a.ID, n), time.Time{})
}
