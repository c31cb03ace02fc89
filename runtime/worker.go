package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	goruntime "runtime"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/dispatch"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// A live is one revision of a function, ready to run. It does not change.
type live struct {
	entry  *store.Entry
	fn     *function.Function
	guest  Guest
	pins   journal.Pins
	grants capability.Grants
	slots  chan struct{} // as many as may be handled at once: events and retries together
}

// A worker runs the revisions of one function, one after the other.
type worker struct {
	rt    *Runtime
	token string
	want  chan *store.Entry // the newest; nil: the function is deleted

	mu       sync.Mutex
	live     *live              // guarded by mu
	consumer *dispatch.Consumer // guarded by mu
	err      error              // why it does not run; guarded by mu
	floor    *floor             // as last looked at, not changed afterwards; guarded by mu
}

// follow keeps one worker per function of the store.
func (r *Runtime) follow(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return r.store.Watch(ctx, func(c store.Change) {
		switch {
		case c.Ready:
			r.mu.Lock()
			r.ready = true
			r.mu.Unlock()
		case c.Err != nil:
			r.log.Error("stored function cannot be read", "function", c.Token, "err", c.Err)
		default:
			r.mu.Lock()
			w := r.workers[c.Token]
			if w == nil && c.Entry != nil {
				w = &worker{rt: r, token: c.Token, want: make(chan *store.Entry, 1)}
				r.workers[c.Token] = w
				wg.Go(func() { w.run(ctx) })
			}
			r.mu.Unlock()
			if w != nil {
				w.set(c.Entry)
			} else {
				wg.Go(func() { r.missed(ctx, c.Token) })
			}
		}
	})
}

// set replaces what the worker is to run. Only follow calls it.
func (w *worker) set(e *store.Entry) {
	select {
	case <-w.want:
	default:
	}
	w.want <- e
}

func (w *worker) kick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.consumer != nil {
		w.consumer.Kick()
	}
}

func (w *worker) problem() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return fmt.Errorf("function %s: %w", w.token, w.err)
	}
	if w.live != nil && w.floor != nil && w.floor.lost {
		return fmt.Errorf("function %s: events were lost, and it still lies behind: tiercel action list --status lost --function %s", w.token, w.live.entry.ID.Name)
	}
	return nil
}

func (w *worker) current() *live {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.live
}

// run starts each wanted revision after the one before has drained.
func (w *worker) run(ctx context.Context) {
	var old *store.Entry
	e, ok := w.next(ctx)
	for ok {
		if old != nil && (e == nil || e.ID.UID != old.ID.UID) {
			w.forget(ctx, old)
			w.rt.retire(ctx, old)
		}
		if old = e; e == nil {
			e, ok = w.next(ctx)
			continue
		}
		rctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); w.serve(rctx, old) }()
		e, ok = w.next(ctx)
		cancel()
		<-done
	}
}

func (w *worker) next(ctx context.Context) (*store.Entry, bool) {
	select {
	case e := <-w.want:
		return e, true
	case <-ctx.Done():
		return nil, false
	}
}

// forget removes the consumer of a function that is no more.
func (w *worker) forget(ctx context.Context, e *store.Entry) {
	w.rt.metrics.forget(w.token)
	err := w.rt.deps.Bus.JetStream().DeleteConsumer(ctx, bus.StreamEvents, durable(e.ID))
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		w.rt.log.Warn("consumer of a deleted function stays", "function", w.token, "err", err)
	}
}

// durable is the name of a function's consumer.
func durable(id function.ID) string { return id.Token() + "-" + id.UID }

// serve loads a revision and takes events for it until ctx ends.
func (w *worker) serve(ctx context.Context, e *store.Entry) {
	r := w.rt
	var lv *live
	for wait := time.Second; lv == nil; wait = min(2*wait, time.Minute) {
		var err error
		lv, err = r.load(ctx, e)
		w.mu.Lock()
		w.live, w.err = lv, err
		w.mu.Unlock()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		r.log.Error("function cannot be loaded, trying again", "function", w.token, "digest", e.Module, "err", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
	defer lv.guest.Close()
	spec := &lv.fn.Doc.Spec
	// A consumer that is gone is made anew from the floor on: what lies below is handled.
	start := e.StartAt
	if f, err := r.readFloor(ctx, e); err == nil {
		start = f.Handled + 1
	}
	c := dispatch.NewConsumer(dispatch.Config{
		Stream: bus.StreamEvents, Durable: durable(e.ID), Filters: lv.fn.Filters(), StartAt: start, AckWait: r.cfg.AckWait,
		Concurrency: spec.Limits.Concurrency, Grace: r.cfg.Grace, Free: r.deps.Free, Metrics: r.dispatch, Label: w.token, Log: r.log,
		Hold: func() bool { return e.Suspended || spec.Suspend || r.stop.State().Stopped },
	}, r.deps.Bus.JetStream(), func(ctx context.Context, m *dispatch.Message, again bool) dispatch.Verdict {
		return r.message(ctx, lv, m, again)
	})
	w.mu.Lock()
	w.consumer = c
	w.mu.Unlock()
	_ = c.Run(ctx) // nil by contract
	w.mu.Lock()
	w.consumer = nil
	w.mu.Unlock()
}

// load compiles a stored function and its module.
func (r *Runtime) load(ctx context.Context, e *store.Entry) (*live, error) {
	doc, err := e.Parse()
	if err != nil {
		return nil, err
	}
	fn, err := function.Compile(e.ID, doc)
	if err != nil {
		return nil, err
	}
	bin, err := r.store.Module(ctx, e.Module)
	if err != nil {
		return nil, err
	}
	guest, err := r.deps.Compile(ctx, bin)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", e.Module, err)
	}
	grants := grantsOf(doc)
	if r.deps.Provision != nil && len(grants.Kubernetes)+len(grants.Exec) != 0 {
		if err := r.deps.Provision(ctx, e.ID.Capability(), grants); err != nil {
			// The function's own calls will say what is missing; others may work.
			r.log.Warn("credentials of the function are not provisioned", "function", e.ID.Token(), "err", err)
		}
	}
	sum := sha256.Sum256(doc.Spec.Config)
	return &live{entry: e, fn: fn, guest: guest, grants: grants, slots: make(chan struct{}, doc.Spec.Limits.Concurrency), pins: journal.Pins{
		Revision: e.Revision, Module: e.Module,
		Config: "sha256:" + hex.EncodeToString(sum[:]), Image: guest.Image(), Sandbox: sandbox.Version, ABI: abi.ImportModule, Arch: goruntime.GOARCH,
	}}, nil
}

// grantsOf is everything a document grants.
func grantsOf(doc *function.Document) capability.Grants {
	g := doc.Spec.Grants
	g.Secrets = append(append([]string(nil), g.Secrets...), doc.Spec.Secrets...)
	return g
}

// message makes a delivery of a message of EVENTS and handles it.
func (r *Runtime) message(ctx context.Context, lv *live, m *dispatch.Message, again bool) dispatch.Verdict {
	d, err := dispatch.Read(m.Subject, m.Header, m.Data)
	if err != nil {
		return r.malformed(ctx, lv, m, err)
	}
	d.Sequence, d.Published, d.Received, d.Again = m.Meta.Sequence.Stream, m.Meta.Timestamp, r.deps.Clock.Now(), again
	if m.Header.Get(nats.MsgIdHdr) == "" {
		d.Again = true // EVENTS keeps nobody from publishing it twice
	}
	if !lv.take(ctx, r.cfg.AckWait) {
		return dispatch.Nak(busyRetry)
	}
	defer lv.give()
	return r.handle(ctx, lv, d)
}

// take waits up to d for one of the function's slots.
func (lv *live) take(ctx context.Context, d time.Duration) bool {
	select {
	case lv.slots <- struct{}{}:
		return true
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case lv.slots <- struct{}{}:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

func (lv *live) give() { <-lv.slots }

// malformed ends a message that is no match at all.
func (r *Runtime) malformed(ctx context.Context, lv *live, m *dispatch.Message, why error) dispatch.Verdict {
	stored, err := dispatch.DeadLetter(ctx, r.deps.Bus.JetStream(), lv.fn.ID.Token(), dispatch.Letter{
		Function: lv.fn.ID.String(), Reason: "malformed", Text: why.Error(),
		Address: m.Subject, Sequence: m.Meta.Sequence.Stream, Time: r.deps.Clock.Now(), Event: m.Data,
		Redrive: "publish it again once its producer makes matches of type " + bus.TypeRuleMatched,
	})
	if err != nil {
		r.log.Warn("dead letter cannot be stored, trying again", "function", lv.fn.ID.Token(), "err", err)
		return dispatch.Nak(time.Second)
	}
	r.metrics.letter(lv.fn.ID.Token(), "malformed", stored)
	return dispatch.Term()
}
