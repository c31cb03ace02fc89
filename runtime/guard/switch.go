package guard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrStopped means that the global stop switch is on.
	ErrStopped = errors.New("stopped by the global stop switch")
	// ErrUnconfirmed means that the state of the stop switch could not be confirmed in time, so nothing may be done.
	ErrUnconfirmed = errors.New("the stop switch could not be confirmed")
)

// A Stop is the state of the global stop switch.
type Stop struct {
	Stopped bool      `json:"stopped"`
	Freeze  bool      `json:"freeze,omitempty"` // reverts too
	By      string    `json:"by,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Time    time.Time `json:"time"`
}

const stopKey = "guard.stop"

// ReadStop returns the switch's state. Off is the zero Stop.
func ReadStop(ctx context.Context, kv jetstream.KeyValue) (Stop, error) {
	e, err := kv.Get(ctx, stopKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Stop{}, nil
	}
	if err != nil {
		return Stop{}, fmt.Errorf("stop switch: %w", err)
	}
	var s Stop
	if err := json.Unmarshal(e.Value(), &s); err != nil {
		return Stop{}, fmt.Errorf("stop switch: %w", err)
	}
	return s, nil
}

// WriteStop turns the switch on or off.
func WriteStop(ctx context.Context, kv jetstream.KeyValue, s Stop) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if _, err := kv.Put(ctx, stopKey, b); err != nil {
		return fmt.Errorf("stop switch: %w", err)
	}
	return nil
}

// SwitchConfig says how closely the switch is watched.
type SwitchConfig struct {
	Poll  time.Duration        // between two confirmations. Default 250ms
	Fresh time.Duration        // how old a confirmation may be before an effect. Default 1s
	Boot  func() time.Duration // clock that goes on while the machine sleeps
}

// A Switch is the stop switch as a runtime sees it: confirmed from the leader again and again by Run.
type Switch struct {
	cfg SwitchConfig
	kv  jetstream.KeyValue

	mu      sync.Mutex
	stop    Stop          // guarded by mu
	at      time.Duration // boot time before the last confirmation was asked for; guarded by mu
	known   bool          // guarded by mu
	changed chan struct{} // closed and replaced at each confirmation; guarded by mu
	notify  func(Stop)
}

// NewSwitch returns a Switch kept in kv; notify, which may be nil, is called when it turns.
func NewSwitch(cfg SwitchConfig, kv jetstream.KeyValue, notify func(Stop)) *Switch {
	if cfg.Poll <= 0 {
		cfg.Poll = 250 * time.Millisecond
	}
	if cfg.Fresh <= 0 {
		cfg.Fresh = time.Second
	}
	return &Switch{cfg: cfg, kv: kv, changed: make(chan struct{}), notify: notify}
}

// Run confirms the switch until ctx ends; it returns nil then.
func (s *Switch) Run(ctx context.Context) error {
	t := time.NewTicker(s.cfg.Poll)
	defer t.Stop()
	for {
		s.confirm(ctx)
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Switch) confirm(ctx context.Context) {
	at := s.cfg.Boot()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Fresh)
	defer cancel()
	stop, err := ReadStop(ctx, s.kv)
	if err != nil {
		return // Check notices that the last one grows old
	}
	s.mu.Lock()
	turned := !s.known || stop.Stopped != s.stop.Stopped || stop.Freeze != s.stop.Freeze
	s.stop, s.at, s.known = stop, at, true
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if turned && s.notify != nil {
		s.notify(stop)
	}
}

// State returns the last confirmed state.
func (s *Switch) State() Stop {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop
}

// Check returns nil if an effect may be sent now: ErrStopped if the switch is on, and ErrUnconfirmed if no confirmation young enough
// came within as long again. A revert is held back only by a switch that freezes.
func (s *Switch) Check(ctx context.Context, revert bool) error {
	deadline := s.cfg.Boot() + s.cfg.Fresh
	for {
		s.mu.Lock()
		stop, fresh, changed := s.stop, s.known && s.cfg.Boot()-s.at <= s.cfg.Fresh, s.changed
		s.mu.Unlock()
		if fresh {
			if stop.Stopped && (!revert || stop.Freeze) {
				return ErrStopped
			}
			return nil
		}
		left := deadline - s.cfg.Boot()
		if left <= 0 {
			return ErrUnconfirmed
		}
		t := time.NewTimer(left)
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		t.Stop()
	}
}
