// Package kernel loads the eBPF programs of package bpf, attaches them, reads their rings and hands out decoded events in the order of
// kernel time. It decides nothing about rules: SetInterest says which event types anybody wants, and only those are paid for.
//
// Read Sensor first. Open attaches; Snapshot gives what was there before; Run delivers what happens from then on.
package kernel

import (
	"context"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// A Sensor is the attached kernel side. Its methods are safe for concurrent use, except that Run and Snapshot are called once each, and
// Snapshot returns before Run begins.
type Sensor struct{}

// Open loads and attaches the programs. Process events are recorded from here on; other event types once SetInterest asks for them.
// What the machine lacks is reported as a *RequirementError.
func Open(cfg Config) (*Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return nil, &RequirementError{Missing: "BPF programs", Hint: "update", Err: ErrKernelTooOld}
}

// SetInterest makes types the event types that leave the kernel. Those that maintain the process table (fork, exec, exit, cgroups) always
// do; for them the set says only which of them wake the reader at once.
func (s *Sensor) SetInterest(types field.EventSet) error { return ErrClosed }

// Snapshot calls handle for each cgroup with a process and for each process that was there when the sensor opened, parents first,
// as EventProcinfo with ProcessOnly set. The event is handle's until it returns.
func (s *Sensor) Snapshot(handle func(*event.Event)) error { return ErrClosed }

// Run reads the rings and calls handle on one goroutine, in the order of kernel time, until ctx ends. The event and its strings are
// handle's until it returns. It returns nil when ctx has ended.
func (s *Sensor) Run(ctx context.Context, handle func(*event.Event)) error { return ErrClosed }

// Stats returns what the rings received and lost so far.
func (s *Sensor) Stats() (Stats, error) { return Stats{}, ErrClosed }

// Close detaches the programs and frees the rings. It may be called twice; Run must have returned.
func (s *Sensor) Close() error { return nil }

// Given returns the event types that the sensor can deliver on this architecture with their arguments. Other system calls arrive with
// Num and Result only.
func Given() field.EventSet { return field.EventSet{} }

// Stats counts what happened since Open.
type Stats struct {
	Rings  []RingStats
	Exempt uint64 // calls of the sensor itself that were passed over
}

// A RingStats counts the records of one ring.
type RingStats struct {
	Name     string // "process" or "event"
	Bytes    int    // size
	Received uint64 // records read
	Wakeups  uint64
	Lost     []Loss // one for each reason, in a fixed order
}

// A Loss counts records that did not make it into a ring.
type Loss struct {
	Reason string // "full", "size" or "scratch"
	Count  uint64
}
