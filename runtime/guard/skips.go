package guard

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

// A Skip is one event that was skipped.
type Skip struct {
	Function function.ID
	Mode     capability.Mode
	Event    journal.EventRef
	Decision Decision
}

type skipKey struct{ token, reason, target string }

// Skips gathers skipped events and stores one record per function, reason and target each second.
type Skips struct {
	journal *journal.Journal
	log     *slog.Logger
	every   time.Duration

	mu      sync.Mutex
	pending map[skipKey]*skipped // guarded by mu
}

type skipped struct {
	action *journal.Action
	done   []chan<- error
}

// NewSkips returns Skips that store nothing before Run.
func NewSkips(j *journal.Journal, log *slog.Logger) *Skips {
	return &Skips{journal: j, log: log, every: time.Second, pending: map[skipKey]*skipped{}}
}

// Add keeps a skip and waits until it is stored.
func (s *Skips) Add(ctx context.Context, x Skip) error {
	done := make(chan error, 1)
	now := s.journal.Clock().Now()
	k := skipKey{x.Function.Token(), x.Decision.Reason, x.Event.Target.Namespace + "/" + x.Event.Target.Pod}
	s.mu.Lock()
	p := s.pending[k]
	if p == nil || len(p.action.Skips.Events) >= journal.MaxSkipped {
		if p != nil {
			// A full one waits under a key of its own.
			s.pending[skipKey{k.token, k.reason, k.target + "\x00" + p.action.ID}] = p
		}
		p = &skipped{action: &journal.Action{
			ID: ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String(), Function: x.Function, Mode: x.Mode, Event: x.Event,
			Outcome: x.Decision.Outcome, End: journal.End{Outcome: x.Decision.Outcome, Reason: x.Decision.Reason, Text: x.Decision.Text},
			Skips: &journal.Skips{Reason: x.Decision.Reason, First: now},
		}}
		s.pending[k] = p
	}
	sk := p.action.Skips
	sk.Count++
	sk.Last = now
	sk.Events = append(sk.Events, x.Event.ID)
	p.done = append(p.done, done)
	s.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run stores what has been gathered each second until ctx ends, and once more then.
func (s *Skips) Run(ctx context.Context) error {
	t := time.NewTicker(s.every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.flush(ctx)
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			s.flush(ctx)
			return nil
		}
	}
}

func (s *Skips) flush(ctx context.Context) {
	s.mu.Lock()
	pending := s.pending
	s.pending = map[skipKey]*skipped{}
	s.mu.Unlock()
	for _, p := range pending {
		p.action.Ended = s.journal.Clock().Now()
		err := s.journal.Store(ctx, p.action)
		if err != nil {
			s.log.Warn("skipped events could not be recorded, they come again", "function", p.action.Function.Token(), "err", err)
		}
		for _, done := range p.done {
			done <- err
		}
	}
}
