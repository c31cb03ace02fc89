package rules

import (
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
)

// A Rule is a rule of a Set. Nothing in it may be changed.
type Rule struct {
	Name      string
	Source    string // Falco's source: "syscall"
	Desc      string
	Priority  Priority
	Tags      []string // sorted
	Enabled   bool
	Condition string // after lists, macros and exceptions are expanded, in canonical form
	Output    string // the template, with what append_output added

	Capture         bool          // accepted, for Falco's sake
	CaptureDuration time.Duration // 0: not given

	Events          field.EventSet // event types that can match
	ConditionFields []string       // fields of the condition with their arguments, sorted
	OutputFields    []string       // fields of the output with their arguments, sorted

	File      string // where it was defined
	Line, Col int

	index int
}

// A Set is a compiled set of rules. It is immutable and safe for concurrent use: a reload makes a new one, and whoever matches takes it
// up by making a new Matcher.
type Set struct {
	rules []*Rule
}

// Rules returns all rules in the order of definition, the disabled ones too.
func (s *Set) Rules() []*Rule { return s.rules }

// EventTypes returns the event types of source that an enabled rule can match.
func (s *Set) EventTypes(source string) field.EventSet {
	var set field.EventSet
	for _, r := range s.rules {
		if r.Enabled && r.Source == source {
			set = set.Union(r.Events)
		}
	}
	return set
}

// A Matcher matches events against a Set. It is not safe for concurrent use: make one for each goroutine.
type Matcher struct {
	set *Set
}

// NewMatcher returns a Matcher of s.
func (s *Set) NewMatcher() *Matcher { return &Matcher{set: s} }

// Set returns the Set that m matches.
func (m *Matcher) Set() *Set { return m.set }
