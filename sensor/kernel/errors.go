package kernel

import (
	"errors"
	"fmt"
)

// Errors that Open returns, wrapped in a RequirementError.
var (
	// ErrNotPermitted means that the process may not load BPF programs: neither root nor CAP_BPF with CAP_PERFMON and CAP_NET_ADMIN.
	ErrNotPermitted = errors.New("not permitted to load BPF programs")
	// ErrNoBTF means that the kernel carries no type information.
	ErrNoBTF = errors.New("kernel has no BTF")
	// ErrKernelTooOld means that the kernel lacks something that later kernels have.
	ErrKernelTooOld = errors.New("kernel too old")
	// ErrNoTracepoint means that the kernel lacks a tracepoint that the sensor cannot do without.
	ErrNoTracepoint = errors.New("tracepoint missing")
)

// ErrClosed is returned by the methods of a Sensor after Close.
var ErrClosed = errors.New("sensor closed")

// A RequirementError says what the sensor needs and the machine lacks, and what to do about it.
type RequirementError struct {
	Missing string // what exactly is missing: "CAP_BPF", "tracepoint task_newtask"
	Hint    string // what to do, one sentence in lower case without a full stop
	Err     error  // one of the errors above, or the kernel's
}

func (e *RequirementError) Error() string { return fmt.Sprintf("%v: %s", e.Err, e.Missing) }

// Unwrap returns Err.
func (e *RequirementError) Unwrap() error { return e.Err }
