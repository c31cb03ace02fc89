package fncmd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/runtime/store"
)

func newRollback(s cli.Streams, flags *connect.Flags) *cobra.Command {
	var to uint64
	cmd := &cobra.Command{
		Use:   "rollback NAME",
		Short: "Bring an earlier revision of a function back",
		Long: "Deploy what an earlier revision of a function was, its document and its module, as a new revision. The store keeps the last 16 changes of a\n" +
			"function. What the function did meanwhile stays: tiercel action revert undoes that.",
		Example: "  tiercel fn rollback isolate-pod\n  tiercel fn rollback isolate-pod --to 3",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, st, err := open(cmd.Context(), flags)
			if err != nil {
				return err
			}
			defer b.Close()
			from, e, err := st.Rollback(cmd.Context(), token(args[0]), to, store.ByCLI)
			if errors.Is(err, store.ErrRevision) && to == 0 {
				return &cli.Error{Err: fmt.Errorf("function %s has no revision before the one it is at", args[0]), Hint: "tiercel fn get " + args[0] + " shows that"}
			}
			if errors.Is(err, store.ErrRevision) {
				return &cli.Error{Err: err, Hint: "tiercel fn get " + args[0] + " shows the current one"}
			}
			if err != nil {
				return explain(cmd.Context(), st, err, args[0])
			}
			doc, err := e.Parse()
			if err != nil {
				return err
			}
			fmt.Fprintf(s.Out, "%s rolled back to revision %d, as revision %d, mode %s, module %s\n", args[0], from, e.Revision, doc.Spec.Mode, short(e.Module))
			return nil
		},
	}
	cmd.Flags().Uint64Var(&to, "to", 0, "revision to bring back (default: the one before)")
	return cmd
}

// short is a digest for people.
func short(digest string) string {
	return digest[:min(len(digest), len("sha256:")+12)] + strings.Repeat("…", min(1, max(0, len(digest)-len("sha256:")-12)))
}
