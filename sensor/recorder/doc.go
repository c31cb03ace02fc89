// Package recorder is the flight recorder: it keeps the last events of each container in memory, as the records that they came in, whether
// or not a rule matched, so that what happened before a match can be looked at after it. What it is given comes from the kernel side, which
// limits it by container; writing a file of it is package capture's format.
//
// Read Recorder first.
package recorder

import (
	"errors"
	"fmt"
	"time"

	"github.com/tiercel-project/tiercel/bus/quantity"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/spell"
)

// A Config bounds a Recorder. Take DefaultConfig and change what is different.
type Config struct {
	// Off is true if nothing is recorded. Default false.
	Off bool `yaml:"off"`
	// Keep is how long an event is kept at least, room permitting. Positive. Default 60s.
	Keep time.Duration `yaml:"keep"`
	// ContainerBytes is how much is kept of one container; the host counts as one. At least 64Ki. Default 1Mi.
	ContainerBytes quantity.Size `yaml:"containerBytes"`
	// TotalBytes is how much is kept in all. At least ContainerBytes. Default 64Mi.
	TotalBytes quantity.Size `yaml:"totalBytes"`
	// Rate is how many events of one container a second are kept. Positive. Default 200.
	Rate int `yaml:"rate"`
	// Events are the names of the event types that are kept; of opens those that made a file. Default: exec, connect, listen, and creation,
	// deletion and renaming of files.
	Events []string `yaml:"events"`
}

const minContainerBytes quantity.Size = 64 << 10

// DefaultConfig returns the defaults of Config.
func DefaultConfig() Config {
	return Config{
		Keep: time.Minute, ContainerBytes: 1 << 20, TotalBytes: 64 << 20, Rate: 200,
		Events: []string{
			"execve", "execveat", "connect", "listen", "open", "openat", "openat2", "creat", "mkdir", "mkdirat", "mknod", "mknodat", "link",
			"linkat", "symlink", "symlinkat", "unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2",
		},
	}
}

// Validate reports every field that is out of its range, by its YAML path. It does no I/O.
func (c Config) Validate() error {
	var errs []error
	bad := func(path, format string, args ...any) { errs = append(errs, fmt.Errorf(path+": "+format, args...)) }
	if c.Keep <= 0 {
		bad("keep", "%v is not positive", c.Keep)
	}
	if c.ContainerBytes < minContainerBytes {
		bad("containerBytes", "%d bytes are less than %v", int64(c.ContainerBytes), minContainerBytes)
	}
	if c.TotalBytes < c.ContainerBytes {
		bad("totalBytes", "%v is less than containerBytes", c.TotalBytes)
	}
	if c.Rate <= 0 {
		bad("rate", "%d is not positive", c.Rate)
	}
	for i, name := range c.Events {
		if t, ok := field.EventTypeByName(name); !ok {
			bad(fmt.Sprintf("events[%d]", i), "%q is no event type%s", name, meant(name))
		} else if perTask[t] {
			bad(fmt.Sprintf("events[%d]", i), "%q is known of every process and not recorded", name)
		}
	}
	return errors.Join(errs...)
}

// meant names the nearest event type.
func meant(name string) string {
	if near := spell.Nearest(name, field.AllEvents().Names()); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

// perTask are the events that come for every process whoever wants them.
var perTask = map[field.EventType]bool{
	field.EventClone: true, field.EventClone3: true, field.EventFork: true, field.EventVfork: true, field.EventProcexit: true,
	field.EventProcinfo: true,
}

// Types returns the event types that are kept; none if the recorder is off.
func (c Config) Types() field.EventSet {
	var set field.EventSet
	if c.Off {
		return set
	}
	for _, name := range c.Events {
		if t, ok := field.EventTypeByName(name); ok {
			set.Add(t)
		}
	}
	return set
}
