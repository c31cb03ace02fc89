package field

import "time"

// A Form says which of the two forms of a path an evaluation binds all its path fields to.
type Form uint8

const (
	// AsPassed is the path the program passed, made absolute and cleaned lexically: Falco's fd.name.
	AsPassed Form = iota
	// Resolved is the path the kernel walked to, below the task's root.
	Resolved
)

// A Ref is one use of a field: the field and its argument. Refs are made when rules are compiled, so extracting one parses nothing.
type Ref struct {
	ID    ID
	Arg   string // text between [ and ], or the NAME of evt.arg.NAME; empty if there is none
	Index int    // Arg as a number; -1 if it is none or there is no Arg
}

// An Event is one event as a matcher reads it. Implementations need not be safe for concurrent use.
type Event interface {
	// Type is what evt.type says.
	Type() EventType
	// Time is when the kernel, or whoever recorded the event, saw it.
	Time() time.Time
	// RuleSource is the source whose rules may match: "syscall", "k8s_audit" or a plugin's.
	RuleSource() string
	// TwoForms reports whether a path of the event has a Resolved form that differs from its AsPassed form. Only then does a matcher
	// evaluate a condition a second time.
	TwoForms() bool
	// Extract stores the value of ref in v and reports whether the event has one. Strings in v may alias the event's own memory: they
	// are valid until the event is reused. v arrives with unspecified content; its List may be reused for its capacity.
	Extract(ref *Ref, form Form, v *Value) bool
}
