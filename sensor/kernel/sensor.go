// Package kernel loads the eBPF programs of package bpf, attaches them, reads their rings and hands out decoded events in the order of
// kernel time. It decides nothing about rules: SetInterest says which event types anybody wants, and only those are paid for.
//
// Read Sensor first. Open attaches; Snapshot gives what was there before; Run delivers what happens from then on.
package kernel

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

// Names of the rings, by index.
const (
	ProcessRing = "process" // fork, exec, exit, cgroups
	EventRing   = "event"   // all else
)

var ringNames = [...]string{ProcessRing, EventRing}

// A Sensor is the attached kernel side. Use, Stats, Losses, Exempt and Close are safe for concurrent use. Run and Snapshot are called once
// each, and Snapshot returns before Run begins; Reread is called while Run works.
type Sensor struct {
	cfg       Config
	types     *btf.Cache // the kernel's, while Open works
	collector *collector // nil without a registerer
	coll      *ebpf.Collection
	state     *readerState
	rings     []*ring
	missing   []string                         // what could not be attached
	layouts   [callsTotal]bpf.SensorCallLayout // guarded by mu; what the call table holds
	// guarded by mu: where the sketches that programs read begin, and whether there have been any
	sketchBank uint8
	sketched   bool

	mu                  sync.Mutex
	links               []link.Link       // guarded by mu
	callExit, callEnter link.Link         // guarded by mu; nil while nobody wants a system call
	entering            map[int]link.Link // guarded by mu; the calls whose beginning is watched, by number
	enterAll            bool              // guarded by mu; there are no tracepoints for single calls: callEnter watches all
	copies              string            // the program of backend L that sees paths; empty: backend T
	copying             [2]link.Link      // guarded by mu; backend L, nil while nobody wants a path
	addresses           bool              // backend L takes addresses too
	addressing          [3]link.Link      // guarded by mu; backend L, nil while nobody wants a call with an address
	uring               []link.Link       // guarded by mu; empty while nobody wants a request of io_uring
	filter              *loadedFilter     // guarded by mu; nil before the first plan
	offsets             filter.Offsets
	v1, v1Hierarchy     int // the v1 controller by which tasks are told apart where v2 does not: index and hierarchy
	filterRefused       atomic.Uint64
	filterCollector     *filterCollector // nil without a registerer
	closed              atomic.Bool
	iterating           sync.Mutex // held while tasks are iterated

	event     event.Event              // the one that Run hands out
	selves    selves                   // this process and those that are exempt as it is; guarded by mu
	passing   atomic.Pointer[passing]  // the same, for Run
	passed    [selvesMax]atomic.Uint64 // events that rules did not get, by place in selves
	seq       uint64
	requests  requests      // of io_uring, submitted and not completed
	wake      atomic.Uint32 // kinds of process records that may wake the reader, as bits
	rousing   int           // such records that were handed out since the reader waited
	handed    int           // all of them
	wakeups   atomic.Uint64
	undecoded atomic.Uint64
	done      atomic.Uint64 // boot time before which everything has been handed out
}

// Open loads and attaches the programs. Process events are recorded from here on; other event types once SetInterest asks for them.
// What the machine lacks is reported as a *RequirementError.
func Open(cfg Config) (*Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	types := btf.NewCache()
	if err := check(types); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	s := &Sensor{cfg: cfg, types: types, entering: map[int]link.Link{}}
	defer func() { s.types = nil }() // they are large
	if err := s.load(); err != nil {
		s.Close()
		return nil, err
	}
	if cfg.Filter != nil { // loading takes a second or more, and until Run nobody reads what is attached
		if err := s.Use(cfg.Filter, cfg.Filter); err != nil {
			s.Close()
			return nil, fmt.Errorf("select events: %w", err)
		}
	}
	if err := s.attach(); err != nil {
		s.Close()
		return nil, err
	}
	if err := s.register(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Done returns a boot time before which all events have been handed out: a flood may keep the rest of its own waiting for seconds.
func (s *Sensor) Done() uint64 { return s.done.Load() }

// Missing returns what the sensor does without on this machine, one sentence each.
func (s *Sensor) Missing() []string { return s.missing }

// Close detaches the programs and frees the rings. It may be called twice; Run must have returned.
func (s *Sensor) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Swap(true) {
		return nil
	}
	s.unregister()
	var errs []error
	entering := slices.Collect(maps.Values(s.entering))
	for _, l := range slices.Concat(s.links, s.uring, s.copying[:], s.addressing[:], entering, []link.Link{s.callExit, s.callEnter}) {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	for _, r := range s.rings {
		r.close()
	}
	if s.state != nil {
		s.state.close()
	}
	s.filter.close()
	if s.coll != nil {
		s.coll.Close()
	}
	return errors.Join(errs...)
}
