package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/runtime/function"
)

// A Halt holds one revision of a function back from one rule, since an event of it made attempt after attempt end without saying how.
type Halt struct {
	UID        string    `json:"uid"`
	Revision   uint64    `json:"revision"`
	Rule       string    `json:"rule"`
	Invocation string    `json:"invocation"` // that crashed
	Time       time.Time `json:"time"`
}

const haltPrefix = "guard.halt."

// Halts is every Halt there is, kept up to date by Run. A nil *Halts halts nothing.
type Halts struct {
	kv jetstream.KeyValue

	mu    sync.Mutex
	byKey map[string][]Halt // guarded by mu
}

// NewHalts returns Halts kept in kv.
func NewHalts(kv jetstream.KeyValue) *Halts { return &Halts{kv: kv, byKey: map[string][]Halt{}} }

// Run follows the bucket until ctx ends; it returns nil then.
func (h *Halts) Run(ctx context.Context) error {
	w, err := h.kv.Watch(ctx, haltPrefix+">")
	if err != nil {
		return fmt.Errorf("watch halts: %w", err)
	}
	defer w.Stop()
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("watch halts: the watch ended")
			}
			if e != nil {
				h.take(e)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (h *Halts) take(e jetstream.KeyValueEntry) {
	var list []Halt
	if e.Operation() == jetstream.KeyValuePut {
		_ = json.Unmarshal(e.Value(), &list) // what cannot be read halts nothing
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.byKey[strings.TrimPrefix(e.Key(), haltPrefix)] = list
}

// Halted returns what holds that revision back from that rule.
func (h *Halts) Halted(id function.ID, revision uint64, rule string) (Halt, bool) {
	if h == nil {
		return Halt{}, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.byKey[id.Token()] {
		if x.UID == id.UID && x.Revision == revision && x.Rule == rule {
			return x, true
		}
	}
	return Halt{}, false
}

// Of returns every halt of the function.
func (h *Halts) Of(ctx context.Context, token string) ([]Halt, error) {
	list, _, err := h.read(ctx, token)
	return list, err
}

func (h *Halts) read(ctx context.Context, token string) ([]Halt, uint64, error) {
	e, err := h.kv.Get(ctx, haltPrefix+token)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("halts of %s: %w", token, err)
	}
	var list []Halt
	if err := json.Unmarshal(e.Value(), &list); err != nil {
		return nil, 0, fmt.Errorf("halts of %s: %w", token, err)
	}
	return list, e.Revision(), nil
}

// Halt adds x to the function's halts. Those of other revisions are forgotten.
func (h *Halts) Halt(ctx context.Context, id function.ID, x Halt) error {
	for range 10 {
		list, revision, err := h.read(ctx, id.Token())
		if err != nil {
			return err
		}
		kept := []Halt{x}
		for _, o := range list {
			if o.UID == x.UID && o.Revision == x.Revision && o.Rule != x.Rule {
				kept = append(kept, o)
			}
		}
		b, err := json.Marshal(kept)
		if err != nil {
			return err
		}
		if revision == 0 {
			_, err = h.kv.Create(ctx, haltPrefix+id.Token(), b)
		} else {
			_, err = h.kv.Update(ctx, haltPrefix+id.Token(), b, revision)
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return fmt.Errorf("halt %s: %w", id.Token(), err)
		}
	}
	return fmt.Errorf("halt %s: the entry keeps changing", id.Token())
}

// Clear forgets every halt of the function: somebody has looked.
func (h *Halts) Clear(ctx context.Context, token string) error {
	if err := h.kv.Purge(ctx, haltPrefix+token); err != nil {
		return fmt.Errorf("halts of %s: %w", token, err)
	}
	return nil
}
