package actioncmd

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

func newArtifact(s cli.Streams, flags *connect.Flags) *cobra.Command {
	return &cobra.Command{
		Use:     "artifact ID NAME",
		Short:   "Print evidence that an action has kept",
		Long:    "Print the text that a function kept under a name: a pod's log, for instance. It is the program's own words: look at it with care.",
		Example: "  tiercel action artifact 01M7XZKZHCF492A4RXKQ2R3AEJ web.log > web.log",
		Args:    cobra.ExactArgs(2),
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
			digest, err := artifactOf(a, args[1])
			if err != nil {
				return err
			}
			store, err := b.ObjectStore(cmd.Context(), bus.StoreArtifacts)
			if err != nil {
				return err
			}
			text, err := store.GetBytes(cmd.Context(), digest)
			if errors.Is(err, jetstream.ErrObjectNotFound) {
				return &cli.Error{Err: fmt.Errorf("%s of action %s is not stored any more", args[1], a.ID), Hint: "its digest was " + digest}
			}
			if err != nil {
				return err
			}
			_, err = s.Out.Write(text)
			return err
		},
	}
}

// artifacts returns what an action has kept, in order.
func artifacts(a *journal.Action) []capability.ArtifactCall {
	var out []capability.ArtifactCall
	for _, c := range a.Calls {
		if c.Op != abi.OpArtifactPut || c.Prepared == nil || c.Error != nil || c.Rehearsed || c.Done.IsZero() {
			continue
		}
		var q capability.ArtifactCall
		if json.Unmarshal(c.Prepared.Canonical, &q) == nil {
			out = append(out, q)
		}
	}
	return out
}

// artifactOf returns the digest of the last artifact of that name.
func artifactOf(a *journal.Action, name string) (digest string, err error) {
	var names []string
	for _, q := range artifacts(a) {
		if names = append(names, q.Name); q.Name == name {
			digest = q.Digest
		}
	}
	switch {
	case digest != "":
		return digest, nil
	case len(names) == 0:
		return "", &cli.Error{Err: fmt.Errorf("action %s has kept nothing", a.ID), Hint: "tiercel action get " + a.ID + " shows what it did"}
	}
	return "", &cli.Error{Err: fmt.Errorf("action %s has no artifact %q", a.ID, name), Hint: fmt.Sprintf("it has %q", names)}
}
