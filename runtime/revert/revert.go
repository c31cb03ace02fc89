package revert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/dispatch"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

// Kind is the kind of a Request in TIMERS.
const Kind = "revert"

// Who asks, where nobody does.
const (
	ByTimer = "timer"
	BySweep = "sweep"
)

// A Request asks for an invocation to be undone.
type Request struct {
	Kind       string      `json:"kind"` // Kind
	Function   function.ID `json:"function"`
	Invocation string      `json:"invocation"`
	By         string      `json:"by"`
	Manual     bool        `json:"manual,omitempty"` // whether or not it is due
}

// Ask has a runtime undo an invocation now. Asked twice within the stream's duplicate window with one nonce, it is done once.
func Ask(ctx context.Context, b *bus.Bus, q Request, nonce string) error {
	q.Kind = Kind
	data, err := json.Marshal(q)
	if err != nil {
		return err
	}
	m := &nats.Msg{Subject: string(bus.TimerDueSubject(q.Invocation + "/revert")), Data: data, Header: nats.Header{}}
	if _, err := b.JetStream().PublishMsg(ctx, m, jetstream.WithMsgID(q.Invocation+"/revert/"+nonce)); err != nil {
		return fmt.Errorf("ask for the revert of %s: %w", q.Invocation, err)
	}
	return nil
}

// ID is the id of the n-th revert of an invocation.
func ID(invocation string, n int) string { return fmt.Sprintf("%s/revert/%d", invocation, n) }

// Config names the runtime.
type Config struct {
	Runtime string
}

// Capabilities undoes effects.
type Capabilities interface {
	Revert(ctx context.Context, s capability.Scope, i *capability.Inverse, effect string) (capability.Result, error)
}

// Deps is whom a Reverter works with.
type Deps struct {
	Bus          *bus.Bus
	Journal      *journal.Journal
	State        jetstream.KeyValue
	Capabilities Capabilities
	Check        func(context.Context) error                               // the stop switch: an error holds reverts back
	Reach        func(ctx context.Context, point, invocation string) error // faults for tests
	OnAction     func(*journal.Action)
	Log          *slog.Logger
}

// A Reverter is safe for concurrent use.
type Reverter struct {
	cfg  Config
	deps Deps

	mu     sync.Mutex
	active map[string]bool // reverts this runtime is at; guarded by mu
}

// New returns a Reverter that starts nothing.
func New(cfg Config, deps Deps) *Reverter {
	return &Reverter{cfg: cfg, deps: deps, active: map[string]bool{}}
}

// An open entry says that an invocation is to be undone.
type open struct {
	Function   function.ID `json:"function"`
	Invocation string      `json:"invocation"`
	RevertAt   time.Time   `json:"revertAt"`
}

// A done entry says how far the reverts of an invocation have come.
type done struct {
	N  int  `json:"n"`  // of the last one
	OK bool `json:"ok"` // nothing is left to undo
}

const (
	openPrefix = "revert.open."
	donePrefix = "revert.done."
	doneTTL    = 7 * 24 * time.Hour
)

func key(prefix, invocation string) string { return prefix + invocation }

// Open records that an invocation is to be undone at that time, and sets the timer. It is called before the first effect, and changes
// nothing when called again.
func (r *Reverter) Open(ctx context.Context, id function.ID, invocation string, at time.Time) error {
	b, err := json.Marshal(open{Function: id, Invocation: invocation, RevertAt: at})
	if err != nil {
		return err
	}
	_, err = r.deps.State.Create(ctx, key(openPrefix, invocation), b)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return nil // with its timer, or the sweep finds it
	}
	if err != nil {
		return fmt.Errorf("open entry of %s: %w", invocation, err)
	}
	return r.schedule(ctx, Request{Kind: Kind, Function: id, Invocation: invocation, By: ByTimer}, at)
}

func (r *Reverter) schedule(ctx context.Context, q Request, at time.Time) error {
	b, err := json.Marshal(q)
	if err != nil {
		return err
	}
	return r.deps.Bus.Schedule(ctx, q.Invocation+"/revert", at, b)
}

// Sweep asks for every revert that is overdue.
func (r *Reverter) Sweep(ctx context.Context) error {
	keys, err := r.deps.State.ListKeysFiltered(ctx, openPrefix+"*")
	if err != nil {
		return fmt.Errorf("list open effects: %w", err)
	}
	now := r.deps.Journal.Clock().Now()
	var errs []error
	for k := range keys.Keys() {
		o, err := r.opened(ctx, strings.TrimPrefix(k, openPrefix))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if o == nil || now.Sub(o.RevertAt) < 2*time.Second {
			continue
		}
		errs = append(errs, Ask(ctx, r.deps.Bus, Request{Function: o.Function, Invocation: o.Invocation, By: BySweep}, "sweep/"+now.Truncate(time.Minute).Format(time.RFC3339)))
	}
	return errors.Join(errs...)
}

// Pending reports whether anything of the function is still to be undone by itself.
func (r *Reverter) Pending(ctx context.Context, id function.ID) (bool, error) {
	keys, err := r.deps.State.ListKeysFiltered(ctx, openPrefix+"*")
	if err != nil {
		return false, fmt.Errorf("list open effects: %w", err)
	}
	pending := false
	var errs []error
	for k := range keys.Keys() {
		o, err := r.opened(ctx, strings.TrimPrefix(k, openPrefix))
		errs = append(errs, err)
		pending = pending || o != nil && o.Function.UID == id.UID
	}
	return pending, errors.Join(errs...)
}

// opened returns the open entry of an invocation, or nil.
func (r *Reverter) opened(ctx context.Context, invocation string) (*open, error) {
	e, err := r.deps.State.Get(ctx, key(openPrefix, invocation))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open entry of %s: %w", invocation, err)
	}
	o := new(open)
	if err := json.Unmarshal(e.Value(), o); err != nil {
		return nil, fmt.Errorf("open entry of %s: %w", invocation, err)
	}
	return o, nil
}

func (r *Reverter) progress(ctx context.Context, invocation string) (done, error) {
	var d done
	e, err := r.deps.State.Get(ctx, key(donePrefix, invocation))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return d, nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value(), &d)
	}
	if err != nil {
		return d, fmt.Errorf("reverts of %s: %w", invocation, err)
	}
	return d, nil
}

// finish remembers that the n-th revert is over, and if all is undone that nothing is left to do.
func (r *Reverter) finish(ctx context.Context, invocation string, d done) error {
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	k := key(donePrefix, invocation)
	_, err = r.deps.State.Create(ctx, k, b, jetstream.KeyTTL(doneTTL))
	if errors.Is(err, jetstream.ErrKeyExists) {
		_, err = r.deps.State.Put(ctx, k, b)
	}
	if err != nil {
		return fmt.Errorf("reverts of %s: %w", invocation, err)
	}
	if !d.OK {
		return nil
	}
	if err := r.deps.State.Purge(ctx, key(openPrefix, invocation)); err != nil {
		return fmt.Errorf("open entry of %s: %w", invocation, err)
	}
	return nil
}

// Handle undoes an invocation if that is due, and says what becomes of the message that asked for it.
func (r *Reverter) Handle(ctx context.Context, q Request) dispatch.Verdict {
	if !q.Manual {
		o, err := r.opened(ctx, q.Invocation)
		if err != nil {
			return r.later(q, err)
		}
		if o == nil {
			return dispatch.Ack()
		}
		if left := o.RevertAt.Sub(r.deps.Journal.Clock().Now()); left > 0 {
			if left < 5*time.Second {
				return dispatch.Nak(left)
			}
			if err := r.schedule(ctx, q, o.RevertAt); err != nil {
				return r.later(q, err)
			}
			return dispatch.Ack()
		}
	}
	if err := r.deps.Check(ctx); err != nil {
		return dispatch.Nak(5 * time.Second)
	}
	d, err := r.progress(ctx, q.Invocation)
	if err != nil {
		return r.later(q, err)
	}
	if d.OK {
		return dispatch.Ack()
	}
	a := &attempt{r: r, q: q, n: d.N + 1, id: ID(q.Invocation, d.N+1)}
	if !r.enter(a.id) {
		return dispatch.Nak(time.Second)
	}
	defer r.leave(a.id)
	return a.run(ctx)
}

func (r *Reverter) enter(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active[id] {
		return false
	}
	r.active[id] = true
	return true
}

func (r *Reverter) leave(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.active, id)
}

func (r *Reverter) later(q Request, err error) dispatch.Verdict {
	r.deps.Log.Warn("revert is put off", "invocation", q.Invocation, "err", err)
	return dispatch.Nak(2 * time.Second)
}

// Progress tells how many reverts of an invocation have ended, and whether nothing is left to undo.
func Progress(ctx context.Context, state jetstream.KeyValue, invocation string) (n int, undone bool, err error) {
	r := Reverter{deps: Deps{State: state}}
	d, err := r.progress(ctx, invocation)
	return d.N, d.OK, err
}

// Wait returns once more than n reverts of an invocation have ended or nothing is left to undo, and says how many have ended. Unlike
// their outcomes, which are announced once, that is not missed by who begins to wait too late.
func Wait(ctx context.Context, state jetstream.KeyValue, invocation string, n int) (int, error) {
	w, err := state.Watch(ctx, key(donePrefix, invocation), jetstream.IgnoreDeletes())
	if err != nil {
		return 0, fmt.Errorf("watch the reverts of %s: %w", invocation, err)
	}
	defer w.Stop()
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return 0, fmt.Errorf("watch the reverts of %s: %w", invocation, nats.ErrConnectionClosed)
			}
			if e == nil { // all that was there before
				continue
			}
			var d done
			if err := json.Unmarshal(e.Value(), &d); err != nil {
				return 0, fmt.Errorf("reverts of %s: %w", invocation, err)
			}
			if d.N > n || d.OK {
				return d.N, nil
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
