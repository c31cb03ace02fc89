// Package fncmd is the command tiercel fn: it makes, builds, deploys and manages functions.
package fncmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/rules/spell"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// New returns the command.
func New(s cli.Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fn",
		Short: "Make, deploy and manage functions",
		Long: "A function handles the events that its triggers select. It is a WebAssembly module and a document that says when it runs and what it\n" +
			"may do. init and build work in a folder; the others talk to the tiercel that runs on this machine, or to the NATS server given.",
		Args: cobra.NoArgs,
	}
	flags := connect.AddFlags(cmd)
	cmd.AddCommand(newInit(s), newBuild(s), newTest(s, flags), newDev(s, flags), newDeploy(s, flags), newInvoke(s, flags), newLogs(s, flags), newInspect(s, flags), newRollback(s, flags), newList(s, flags), newGet(s, flags), newDelete(s, flags),
		newSuspend(s, flags, true), newSuspend(s, flags, false))
	return cmd
}

// open connects and opens the store. Close the bus.
func open(ctx context.Context, flags *connect.Flags) (*bus.Bus, *store.Store, error) {
	b, err := flags.Connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	st, err := store.Open(ctx, b.JetStream())
	if err != nil {
		b.Close()
		return nil, nil, &cli.Error{Err: err, Hint: "the server has no functions yet: start tiercel run or tiercel runtime once, which makes the buckets"}
	}
	return b, st, nil
}

// token is the key of the function that a user names as NAME or TENANT/NAME.
func token(name string) string {
	if tenant, n, ok := strings.Cut(name, "/"); ok {
		return function.Token(tenant, n)
	}
	return function.Token(function.DefaultTenant, name)
}

// explain adds hints to errors of the store st.
func explain(ctx context.Context, st *store.Store, err error, name string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return &cli.Error{Err: fmt.Errorf("there is no function %q%s", name, meant(ctx, st, name)), Hint: "tiercel fn list shows those there are"}
	case errors.Is(err, store.ErrManaged):
		return &cli.Error{Err: err, Hint: "change it where it comes from"}
	}
	return err
}

// meant asks after the function of st whose name is nearest to name, if one is near.
func meant(ctx context.Context, st *store.Store, name string) string {
	list, err := st.List(ctx)
	if err != nil {
		return "" // what is to be told is that the name is unknown
	}
	names := make([]string, 0, len(list))
	for _, e := range list {
		if names = append(names, e.ID.Name); strings.Contains(name, "/") {
			names[len(names)-1] = e.ID.Tenant + "/" + e.ID.Name
		}
	}
	if near := spell.Nearest(name, names); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

// report prints every problem of a document or module, one a line, each with its hint.
func report(s cli.Streams, err error) error {
	n := 0
	var walk func(error)
	walk = func(err error) {
		if j, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range j.Unwrap() {
				walk(e)
			}
			return
		}
		n++
		if me, ok := errors.AsType[*sandbox.ModuleError](err); ok && me.Hint != "" {
			fmt.Fprintf(s.Err, "error: %s\nhint: %s\n", strings.TrimSuffix(err.Error(), ": "+me.Hint), me.Hint)
			return
		}
		cli.Report(s.Err, err)
	}
	walk(err)
	if n == 0 {
		return err
	}
	return cli.ErrSilent
}
