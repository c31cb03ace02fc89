package sandbox

import (
	"fmt"
	"time"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// A Kind says which limit or rule a guest broke. The set is closed: it is a metric's label.
type Kind string

// Kinds of faults.
const (
	FaultTrap     Kind = "trap"     // it trapped, exited, or gave an import a range outside its memory
	FaultDeadline Kind = "deadline" // it ran longer than Limits.Timeout
	FaultFuel     Kind = "fuel"     // it took more steps than Limits.Fuel
	FaultMemory   Kind = "memory"   // it needed more memory than Limits.Memory
	FaultOutput   Kind = "output"   // its result is larger than Limits.Output
	FaultCalls    Kind = "calls"    // it made more calls than Limits.Calls
	FaultLog      Kind = "log"      // it wrote more than logFlood times Limits.Log
	FaultGarbage  Kind = "garbage"  // its result is not what the ABI says
)

// Kinds lists every kind of fault.
var Kinds = []Kind{FaultTrap, FaultDeadline, FaultFuel, FaultMemory, FaultOutput, FaultCalls, FaultLog, FaultGarbage}

// A Fault is the error of an invocation that the guest's own behaviour ended. Doing it again would end it the same way.
type Fault struct {
	Kind Kind
	Text string // for people; may quote what the guest wrote
}

func (f *Fault) Error() string { return fmt.Sprintf("%s: %s", f.Kind, f.Text) }

// A Stop is an error a [Host] returns from Call to end the invocation there; Handle returns it.
type Stop struct{ Err error }

func (s *Stop) Error() string { return fmt.Sprintf("stopped at a call: %v", s.Err) }

// Unwrap returns the host's own error.
func (s *Stop) Unwrap() error { return s.Err }

// A ModuleError is why a module is not accepted.
type ModuleError struct {
	Text string
	Hint string // what to change; may be empty
}

func (e *ModuleError) Error() string {
	if e.Hint == "" {
		return e.Text
	}
	return e.Text + ": " + e.Hint
}

// Limits of one invocation. Zero means the default that functions/abi gives; what is above the maximum there is lowered to it.
type Limits struct {
	Timeout time.Duration // of the guest's own time; the time operations take does not count
	Fuel    int64         // steps, as the meter counts them; 0: by time only
	Memory  int64         // bytes of linear memory
	Output  int           // bytes of the result
	Log     int           // bytes of the log; what is above is dropped, far above ends the invocation
	Calls   int           // operations
}

func (l Limits) withDefaults() Limits {
	l.Timeout = limit(l.Timeout, abi.DefaultTimeout, abi.MaxTimeout)
	l.Memory = limit(l.Memory, abi.DefaultMemory, abi.MaxMemory)
	l.Output = limit(l.Output, abi.DefaultOutput, abi.MaxOutput)
	l.Log = limit(l.Log, abi.DefaultLog, abi.MaxLog)
	l.Calls = limit(l.Calls, abi.DefaultCalls, abi.MaxCalls)
	return l
}

func limit[T int | int64 | time.Duration](v, def, most T) T {
	if v <= 0 {
		return def
	}
	return min(v, most)
}

// logFlood is how many times Limits.Log a guest may write before that ends it. What is above once the limit is only dropped: a chatty
// responder is to respond, a flood is to cost no more than this.
const logFlood = 64

// size writes bytes as a document does: 64Mi.
func size[T int | int64](n T) string {
	for _, unit := range []struct {
		bytes T
		name  string
	}{{1 << 30, "Gi"}, {1 << 20, "Mi"}, {1 << 10, "Ki"}} {
		if n >= unit.bytes && n%unit.bytes == 0 {
			return fmt.Sprintf("%d%s", n/unit.bytes, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// raise says where a limit is raised, and how far.
func raise(key string, most any) string {
	text := "; limits." + key + " in the function's document raises that"
	if most != nil {
		text += fmt.Sprintf(", to %v at most", most)
	}
	return text
}
