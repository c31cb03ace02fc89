package fncmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/store"
	"github.com/tiercel-project/tiercel/runtime/testcase"
)

// A recording says what to make a case of.
type recording struct{ action, name string }

func digest(module []byte) string { return store.Digest(module) }

// record makes a case in the folder dir from an action: its event, its function's configuration and the answers it got, as the journal has
// them, and what the function in dir does with them.
func (t *tester) record(ctx context.Context, flags *connect.Flags, dir string, rec recording) error {
	b, st, err := open(ctx, flags)
	if err != nil {
		return err
	}
	defer b.Close()
	a, err := journal.New(journal.DefaultConfig(), b).Action(ctx, rec.action)
	if errors.Is(err, journal.ErrNotFound) {
		return &cli.Error{Err: fmt.Errorf("there is no action %q", rec.action), Hint: "tiercel action list shows those there are"}
	}
	if err != nil {
		return err
	}
	c, err := recorded(ctx, b, st, a)
	if err != nil {
		return err
	}
	if rec.name == "" {
		rec.name = bus.RuleToken(a.Event.Rule)
	}
	folder := dir
	if isFile(dir) {
		folder = filepath.Dir(dir)
	}
	file := filepath.Join(folder, casesFolder, rec.name+filepath.Ext(testcase.Pattern))
	if isFile(file) {
		return &cli.Error{Err: fmt.Errorf("%s is there already", file), Hint: "give the new case another name with --name"}
	}
	f, err := t.load(ctx, dir)
	if err != nil {
		return report(t.s, err)
	}
	defer f.module.Close()
	return t.write(ctx, f, a, c, file)
}

// write runs the function on a recorded case and writes what it does into the file.
func (t *tester) write(ctx context.Context, f *tested, a *journal.Action, c *testcase.Recording, file string) error {
	tc, err := c.Case(file)
	if err != nil {
		return err
	}
	run, err := tc.Run(ctx, f.module, f.limits)
	if err != nil {
		return &cli.Error{
			Err:  fmt.Errorf("the function in this folder does not do what action %s did: %w", a.ID, err),
			Hint: fmt.Sprintf("the action ran module %s, here is %s", a.Pins.Module, f.digest),
		}
	}
	tc.Update(run)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := tc.Save(); err != nil {
		return err
	}
	for _, d := range c.Differences(run) {
		fmt.Fprintf(t.s.Err, "warning: %s; the case expects what the function in this folder does\n", d)
	}
	fmt.Fprintf(t.s.Out, "made %s from action %s of %s\n", file, a.ID, a.Function.Name)
	fmt.Fprintln(t.s.Out, "It holds the event and the host's answers as the journal has them, without the values of secrets: read it before you share it.")
	return nil
}

// recorded collects what the case needs of an action.
func recorded(ctx context.Context, b *bus.Bus, st *store.Store, a *journal.Action) (*testcase.Recording, error) {
	if a.Skips != nil || a.Revert != nil || a.Ended.IsZero() {
		return nil, &cli.Error{Err: fmt.Errorf("no function ran to its end in action %s (%s)", a.ID, a.Outcome), Hint: "record one that succeeded, failed or was skipped by the function"}
	}
	event, err := eventOf(ctx, b, a)
	if err != nil {
		return nil, err
	}
	e, err := st.Pinned(ctx, a.Function, a.Pins.Config, a.Pins.Revision)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &cli.Error{Err: fmt.Errorf("revision %d of %s, which action %s ran, is not stored any more: %w", a.Pins.Revision, a.Function.Name, a.ID, err), Hint: "record a later action"}
	}
	if err != nil {
		return nil, err
	}
	doc, err := e.Parse()
	if err != nil {
		return nil, err
	}
	r := &testcase.Recording{Action: a, Event: event, Config: doc.Spec.Config}
	bodies, err := b.ObjectStore(ctx, bus.StoreBodies)
	if err != nil {
		return nil, err
	}
	r.Body = func(digest string) ([]byte, error) { return bodies.GetBytes(ctx, digest) }
	return r, nil
}

// eventOf reads the event of an action.
func eventOf(ctx context.Context, b *bus.Bus, a *journal.Action) ([]byte, error) {
	if m := a.Event.Manual; m != nil {
		bodies, err := b.ObjectStore(ctx, bus.StoreBodies)
		if err != nil {
			return nil, err
		}
		return bodies.GetBytes(ctx, m.Event)
	}
	stream, err := b.JetStream().Stream(ctx, bus.StreamEvents)
	if err != nil {
		return nil, err
	}
	m, err := stream.GetMsg(ctx, a.Event.Sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, &cli.Error{Err: fmt.Errorf("event %s of action %s has left the stream", a.Event.ID, a.ID), Hint: "record an action whose event is still there"}
	}
	if err != nil {
		return nil, err
	}
	e, err := bus.Decode(m.Header, m.Data)
	if err != nil {
		return nil, err
	}
	return bus.Marshal(e), nil
}
