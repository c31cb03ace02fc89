// Package spool keeps matches on disk until the bus has them. A Publisher writes every message to a file before it sends it, so that neither
// an absence of the bus nor the end of this process loses one; what is acknowledged is removed. It leaves connections, order and sending
// again to bus.Publisher.
//
// Read Publisher first. Below it, a disk is a directory of segments, and a segment is a file of records.
package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/bus"
)

// Errors of this package.
var (
	// ErrInUse means that another process has the directory.
	ErrInUse = errors.New("spool is in use by another process")
	// ErrKept means that messages were not published and stay on disk for the next start.
	ErrKept = errors.New("messages stay in the spool")
)

// A Config configures a Publisher.
type Config struct {
	// Dir is the directory, made if needed. Required.
	Dir string
	// MaxBytes bounds the files. Beyond, the oldest messages go, a segment at a time, and are counted. At least 1 MiB. Default 256 MiB.
	MaxBytes int64
	// Sync is how old what waits may be before it is synced to the disk; 0 syncs before each message is sent. The end of the process loses
	// nothing either way; the end of the machine loses what is younger. Default 1s.
	Sync time.Duration
	// Bus configures the publisher below. Its OnAck and OnError are called as it says, OnError only for what is lost.
	Bus bus.PublisherConfig

	Log        *slog.Logger          // required
	Registerer prometheus.Registerer // required
}

// DefaultConfig returns a Config that lacks Dir, Log and Registerer.
func DefaultConfig() Config {
	return Config{MaxBytes: 256 << 20, Sync: time.Second, Bus: bus.DefaultPublisherConfig()}
}

// minBytes is the least MaxBytes.
const minBytes = 1 << 20

// Validate returns all that is wrong with c. It does no I/O.
func (c *Config) Validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("dir: is empty"))
	}
	if c.MaxBytes < minBytes {
		errs = append(errs, fmt.Errorf("maxBytes: %d is less than %d", c.MaxBytes, minBytes))
	}
	if c.Sync < 0 {
		errs = append(errs, fmt.Errorf("sync: %v is negative", c.Sync))
	}
	return errors.Join(append(errs, c.Bus.Validate())...)
}
