package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// EVENTS discards by age and size, read or not, and JetStream tells nobody; a consumer's own floors move on over what was discarded. So
// how far each function has come is kept, and compared with the stream's first sequence.

// A floor is how far a function has come. It is kept in the bucket of state, since consumers can be lost and runtimes are replaced.
type floor struct {
	UID     string `json:"uid"`
	Taken   uint64 `json:"taken"`   // sequence of EVENTS up to which every event for the function was delivered, or is known to be lost
	Handled uint64 `json:"handled"` // and up to which each was handled

	revision uint64 // of the bucket's entry; 0: there is none
	stored   uint64 // Taken of the entry

	// What was seen when Taken was last brought up to date, if it was.
	looked    bool
	waiting   uint64 // events beyond Taken
	last      uint64 // sequence of EVENTS
	delivered uint64 // deliveries ever

	used float64 // share of the stream's window that the function lies behind
	lost bool    // events were lost, and it still lies behind
}

const (
	floorEvery = time.Second
	floorIdle  = 10  // looks between two at a function that is not far behind
	windowWarn = 0.8 // share of the window from which on it is warned
	windowNear = 0.5 // and from which on each look asks the consumer

	windowParts = 10 // of what the stream keeps: when so much has come, the consumer is asked
)

func floorKey(token string) string { return "floor." + token }

// readFloor returns a function's floor: before its first event if there is none yet.
func (r *Runtime) readFloor(ctx context.Context, e *store.Entry) (*floor, error) {
	f := &floor{UID: e.ID.UID, Taken: max(e.StartAt, 1) - 1}
	f.Handled = f.Taken
	kv, err := r.state.Get(ctx, floorKey(e.Key()))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("floor of %s: %w", e.Key(), err)
	}
	f.revision = kv.Revision()
	var old floor
	if json.Unmarshal(kv.Value(), &old) == nil && old.UID == f.UID && old.Taken >= f.Taken {
		f.Taken, f.Handled, f.stored = old.Taken, max(f.Handled, old.Handled), old.Taken
	}
	return f, nil
}

// writeFloor stores a floor that has moved. Another runtime may have done it: then that one's is read.
func (r *Runtime) writeFloor(ctx context.Context, e *store.Entry, f *floor) error {
	if f.Taken == f.stored && f.revision != 0 {
		return nil
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if f.revision == 0 {
		f.revision, err = r.state.Create(ctx, floorKey(e.Key()), b)
	} else {
		f.revision, err = r.state.Update(ctx, floorKey(e.Key()), b, f.revision)
	}
	if errors.Is(err, jetstream.ErrKeyExists) {
		theirs, err := r.readFloor(ctx, e)
		if err == nil {
			f.revision, f.stored = theirs.revision, theirs.stored
			f.Taken, f.Handled = max(f.Taken, theirs.Taken), max(f.Handled, theirs.Handled)
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("floor of %s: %w", e.Key(), err)
	}
	f.stored = f.Taken
	return nil
}

// floors compares the floors of all functions with EVENTS until ctx ends.
func (r *Runtime) floors(ctx context.Context) error {
	t := time.NewTicker(floorEvery)
	defer t.Stop()
	for n := 0; ; n++ {
		if err := r.lookAtFloors(ctx, n%floorIdle == 0); err != nil && ctx.Err() == nil {
			r.log.Debug("floors of functions are not known", "err", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// lookAtFloors looks once; all says that functions that are not far behind are looked at too.
func (r *Runtime) lookAtFloors(ctx context.Context, all bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*floorEvery)
	defer cancel()
	stream, err := r.deps.Bus.JetStream().Stream(ctx, bus.StreamEvents)
	if err != nil {
		return err
	}
	r.mu.Lock()
	workers := make([]*worker, 0, len(r.workers))
	for _, w := range r.workers {
		workers = append(workers, w)
	}
	r.mu.Unlock()
	var errs []error
	for _, w := range workers {
		if lv := w.current(); lv != nil {
			errs = append(errs, w.lookAtFloor(ctx, lv.entry, stream, all))
		}
	}
	return errors.Join(errs...)
}

// lookAtFloor brings a function's floor up to date and says what was lost.
func (w *worker) lookAtFloor(ctx context.Context, e *store.Entry, stream jetstream.Stream, all bool) error {
	w.mu.Lock()
	f := w.floor
	w.mu.Unlock()
	if f == nil || f.UID != e.ID.UID {
		var err error
		if f, err = w.rt.readFloor(ctx, e); err != nil {
			return err
		}
	}
	next := *f // the worker's own is read by others
	near := f.used >= windowNear
	if near {
		if _, err := stream.Info(ctx); err != nil {
			return err
		}
	}
	info := stream.CachedInfo()
	if all || near || next.behind(info) >= windowNear || next.moved(info.State) {
		cons, err := stream.Consumer(ctx, durable(e.ID))
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			return nil // it is being made
		}
		if err != nil {
			return fmt.Errorf("consumer of %s: %w", w.token, err)
		}
		if err := w.crossed(ctx, e, &next, info.State.FirstSeq, cons.CachedInfo().Delivered.Consumer); err != nil {
			return err
		}
		next.advance(cons.CachedInfo(), info.State.LastSeq)
		if err := w.rt.writeFloor(ctx, e, &next); err != nil {
			return err
		}
	}
	w.noteFloor(ctx, &next, next.behind(info))
	return nil
}

// moved reports whether a good part of what the stream keeps has come since the function was looked at.
func (f *floor) moved(s jetstream.StreamState) bool {
	return s.LastSeq > f.last && (s.LastSeq-f.last)*windowParts > s.LastSeq-s.FirstSeq
}

// advance takes over what the consumer says. last is the stream's last sequence from before it was asked.
func (f *floor) advance(info *jetstream.ConsumerInfo, last uint64) {
	f.Taken, f.Handled = max(f.Taken, info.Delivered.Stream), max(f.Handled, info.AckFloor.Stream)
	if info.NumPending == 0 {
		f.Taken = max(f.Taken, last)
		if info.NumAckPending == 0 {
			f.Handled = f.Taken
		}
	}
	f.looked, f.waiting, f.last, f.delivered = true, info.NumPending, last, info.Delivered.Consumer
}

// behind is the share of the stream's window, by whichever limit is nearer, that lies beyond what it has taken: at 1 the next event to be handled
// is the next to be discarded. Events are taken to be of one size and evenly spread.
func (f *floor) behind(info *jetstream.StreamInfo) float64 {
	s, c := info.State, info.Config
	if s.Msgs == 0 || s.LastSeq <= f.Taken || f.looked && f.waiting == 0 {
		return 0
	}
	filled := 0.0
	if c.MaxBytes > 0 {
		filled = max(filled, float64(s.Bytes)/float64(c.MaxBytes))
	}
	if c.MaxMsgs > 0 {
		filled = max(filled, float64(s.Msgs)/float64(c.MaxMsgs))
	}
	if c.MaxAge > 0 {
		filled = max(filled, float64(time.Since(s.FirstTime))/float64(c.MaxAge))
	}
	return filled * min(1, float64(s.LastSeq-f.Taken)/float64(s.LastSeq-s.FirstSeq+1))
}

// A Loss is the data of an outcome lost.
type Loss struct {
	First  uint64 `json:"first"` // sequences of EVENTS
	Last   uint64 `json:"last"`
	AtMost uint64 `json:"atMost"` // events of the function among them
}

// discarded returns how many events, at most, EVENTS has discarded of those that the function had not taken, now that its first sequence
// is first and the function's consumer has delivered so many.
func (f *floor) discarded(first, delivered uint64) uint64 {
	if first <= f.Taken+1 {
		return 0
	}
	n := first - 1 - f.Taken
	if !f.looked {
		return n
	}
	came := uint64(0) // since
	if first-1 > f.last {
		came = first - 1 - f.last
	}
	n = min(n, f.waiting+came)
	if delivered > f.delivered {
		n -= min(n, delivered-f.delivered)
	}
	return n
}

// crossed records what EVENTS has discarded before the function took it, once for all runtimes.
func (w *worker) crossed(ctx context.Context, e *store.Entry, f *floor, first, delivered uint64) error {
	n := f.discarded(first, delivered)
	if n == 0 {
		return nil
	}
	theirs, err := w.rt.readFloor(ctx, e)
	if err != nil {
		return err
	}
	if theirs.Taken >= first-1 { // another runtime has said so
		f.Taken, f.lost = theirs.Taken, true
		return nil
	}
	loss := Loss{First: f.Taken + 1, Last: first - 1, AtMost: n}
	r := w.rt
	now := r.deps.Clock.Now()
	data, err := json.Marshal(loss)
	if err != nil {
		return err
	}
	a := &journal.Action{
		// Who else finds the same has the same id, which ACTIONS takes once.
		ID: e.ID.Invocation(fmt.Sprint(loss.First), e.Created, "lost"), Function: e.ID, Outcome: journal.Lost, Ended: now,
		Event: journal.EventRef{Sequence: loss.First},
		End: journal.End{Outcome: journal.Lost, Reason: reasonDiscarded, Data: data, Text: fmt.Sprintf(
			"EVENTS discarded sequences %d to %d before the function took them: at most %d were for it; give the stream room (streams.maxBytes.EVENTS, streams.maxAge.EVENTS)",
			loss.First, loss.Last, loss.AtMost)},
	}
	if err := r.journal.Store(ctx, a); err != nil {
		return err
	}
	f.Taken, f.lost = loss.Last, true
	r.log.Error("events were lost: the stream discarded them before the function took them", "function", w.token, "first", loss.First, "last", loss.Last, "at_most", loss.AtMost)
	r.metrics.lostEvents(w.token, loss.AtMost)
	r.sealed(a)
	return nil
}

// noteFloor keeps a floor for the next look, and warns.
func (w *worker) noteFloor(ctx context.Context, f *floor, used float64) {
	before := f.used
	f.used = used
	if used < windowWarn {
		f.lost = false
	} else if before < windowWarn {
		w.rt.log.WarnContext(ctx, "events will be lost: the function lies almost as far behind as the stream keeps events", "function", w.token, "window_used", used, "waiting", f.waiting)
	}
	w.rt.metrics.window(w.token, used)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.floor = f
}
