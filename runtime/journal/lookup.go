package journal

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus"
)

// Action returns the action of an invocation, running or sealed. The error is ErrNotFound if there is none.
func (j *Journal) Action(ctx context.Context, invocation string) (*Action, error) {
	var found *Action
	err := j.Running(ctx, bus.JournalSubjects, func(a *Action) bool {
		if a.ID == invocation {
			found = a
		}
		return found == nil
	})
	if err != nil || found != nil {
		return found, err
	}
	return j.Find(ctx, invocation, time.Time{})
}

// Follow calls f with the sealed actions whose subject matches, from a time on, as they come, until ctx ends or f returns false. It
// returns nil then.
func (j *Journal) Follow(ctx context.Context, subject string, from time.Time, f func(*Action) bool) error {
	cfg := jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &from}
	cons, err := j.bus.JetStream().OrderedConsumer(ctx, bus.StreamActions, cfg)
	if err != nil {
		return fmt.Errorf("follow %s: %w", bus.StreamActions, err)
	}
	it, err := cons.Messages()
	if err != nil {
		return fmt.Errorf("follow %s: %w", bus.StreamActions, err)
	}
	defer it.Stop()
	stop := context.AfterFunc(ctx, it.Stop)
	defer stop()
	for {
		m, err := it.Next()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("follow %s: %w", bus.StreamActions, err)
		}
		if m.Headers().Get(headerTaken) != "" {
			continue
		}
		a, err := decodeAction(m)
		if err != nil {
			return err
		}
		if !f(a) {
			return nil
		}
	}
}
