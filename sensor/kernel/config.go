package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"math/bits"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/filter"
	"github.com/tiercel-project/tiercel/sensor/host"
)

// A Config configures a Sensor. The zero Config is valid: zero fields take their defaults when the sensor opens.
type Config struct {
	// RingBytes is the size of the ring for events that rules watch: a power of two from 64 KiB to 1 GiB. Default: by memory, 4–16 MiB.
	RingBytes int
	// ProcessRingBytes is the size of the ring for process and cgroup events, as RingBytes. Default: by memory, 1–4 MiB.
	ProcessRingBytes int
	// Filter decides from the first event on what leaves the kernel; Use replaces it. Default: process and cgroup events only.
	Filter *filter.Plan
	// Record are the event types that the flight recorder wants although no rule does. They leave with the flag Recorded, wake nobody, and of
	// opens those that made a file only. Default: none.
	Record field.EventSet
	// RecordRate is how many events of one cgroup a second leave for the recorder alone. Not negative. Default 200.
	RecordRate int
	// CgroupRoot is where the destination hooks attach: the root of the cgroup v2 hierarchy. Default: the first mount of it in
	// /proc/self/mountinfo, else where the host has it.
	CgroupRoot string
	// HostRoot is where the host's files are found. Default: here.
	HostRoot host.Root
	// NoBackendL keeps to backend T where the kernel would allow backend L too.
	NoBackendL bool
	// Log receives what the sensor could not attach and does without. Default: nothing is logged.
	Log *slog.Logger
	// Registerer receives the sensor's metrics. Default: none.
	Registerer prometheus.Registerer
}

const (
	minRingBytes = 64 << 10
	maxRingBytes = 1 << 30
)

// Validate reports every field that is out of its range.
func (c Config) Validate() error {
	var errs []error
	for _, r := range []struct {
		name string
		n    int
	}{{"ringBytes", c.RingBytes}, {"processRingBytes", c.ProcessRingBytes}} {
		if r.n != 0 && (r.n < minRingBytes || r.n > maxRingBytes || bits.OnesCount(uint(r.n)) != 1) {
			errs = append(errs, fmt.Errorf("%s: %d is not a power of two from %d to %d", r.name, r.n, minRingBytes, maxRingBytes))
		}
	}
	if c.RecordRate < 0 {
		errs = append(errs, fmt.Errorf("recordRate: %d is negative", c.RecordRate))
	}
	return errors.Join(errs...)
}

// setDefaults fills the zero fields.
func (c *Config) setDefaults() {
	if c.RingBytes == 0 {
		c.RingBytes = ringBytes(2048, 4<<20, 16<<20)
	}
	if c.ProcessRingBytes == 0 {
		c.ProcessRingBytes = ringBytes(8192, 1<<20, 4<<20)
	}
	if c.RecordRate == 0 {
		c.RecordRate = 200
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}
