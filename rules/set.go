package rules

import (
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/load"
	"github.com/tiercel-project/tiercel/rules/match"
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
	prog  *match.Program
	out   *output
	spec  *load.Rule
	cond  *load.Condition
}

// Explain says why r matches ev, or why not. It does so for disabled rules too.
func (r *Rule) Explain(ev field.Event) *match.Explanation { return r.prog.Explain(ev) }

// Program returns the compiled condition of r.
func (r *Rule) Program() *match.Program { return r.prog }

// A Set is a compiled set of rules. It is immutable and safe for concurrent use: a reload makes a new one, and whoever matches takes it
// up by making a new Matcher.
type Set struct {
	rules   []*Rule
	sources []sourceIndex
	opts    Options
}

// A sourceIndex has the enabled rules of one source.
type sourceIndex struct {
	source string
	index  *match.Index
	rules  []*Rule // by position in the index
}

func newSet(all []*Rule, opts Options) *Set {
	s := &Set{rules: all, opts: opts}
	for _, source := range opts.Sources {
		x := sourceIndex{source: source}
		var programs []*match.Program
		for _, r := range all {
			if r.Enabled && r.Source == source {
				x.rules = append(x.rules, r)
				programs = append(programs, r.prog)
			}
		}
		if len(programs) > 0 {
			x.index = match.NewIndex(programs, opts.Matching == First)
			s.sources = append(s.sources, x)
		}
	}
	return s
}

// Rules returns all rules in the order of definition, the disabled ones too.
func (s *Set) Rules() []*Rule { return s.rules }

// Rule returns the rule of that name; nil if there is none.
func (s *Set) Rule(name string) *Rule {
	for _, r := range s.rules {
		if r.Name == name {
			return r
		}
	}
	return nil
}

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

// Prepare does now what the first event of each type would have to wait for. Call it before a new Set takes over from another.
func (s *Set) Prepare() {
	for _, x := range s.sources {
		x.index.Prepare(s.EventTypes(x.source))
	}
}

// A Matcher matches events against a Set. It is not safe for concurrent use: make one for each goroutine.
type Matcher struct {
	set     *Set
	sources []sourceMatcher
	hits    []int
	render  renderer
}

type sourceMatcher struct {
	source string
	m      *match.Matcher
	rules  []*Rule
}

// NewMatcher returns a Matcher of s.
func (s *Set) NewMatcher() *Matcher {
	m := &Matcher{set: s}
	for _, x := range s.sources {
		m.sources = append(m.sources, sourceMatcher{source: x.source, m: x.index.NewMatcher(), rules: x.rules})
	}
	return m
}

// NewMatcherOf returns a Matcher of those enabled rules of s for which of is true.
func (s *Set) NewMatcherOf(of func(*Rule) bool) *Matcher {
	m := &Matcher{set: s}
	for _, x := range s.sources {
		var some []*Rule
		var programs []*match.Program
		for _, r := range x.rules {
			if of(r) {
				some = append(some, r)
				programs = append(programs, r.prog)
			}
		}
		if len(some) > 0 {
			m.sources = append(m.sources, sourceMatcher{
				source: x.source, m: match.NewIndex(programs, s.opts.Matching == First).NewMatcher(), rules: some,
			})
		}
	}
	return m
}

// Set returns the Set that m matches.
func (m *Matcher) Set() *Set { return m.set }

// Match appends to dst the rules that ev matches: one at most under Matching First. It allocates nothing when none does.
func (m *Matcher) Match(ev field.Event, dst []*Rule) []*Rule {
	source := ev.RuleSource()
	for i := range m.sources {
		s := &m.sources[i]
		if s.source != source {
			continue
		}
		m.hits = s.m.Match(ev, m.hits[:0])
		for _, h := range m.hits {
			dst = append(dst, s.rules[h])
		}
	}
	return dst
}

// MayMatch reports whether ev could match a rule once the values are known that unknown names. What is false now will be false then.
func (m *Matcher) MayMatch(ev field.Event, unknown func(*field.Ref) bool) bool {
	source := ev.RuleSource()
	for i := range m.sources {
		if m.sources[i].source == source && m.sources[i].m.MayMatch(ev, unknown) {
			return true
		}
	}
	return false
}

// Alert renders what r says about ev. It must be called before ev is reused.
func (m *Matcher) Alert(r *Rule, ev field.Event) *Alert {
	a := &Alert{
		Hostname: m.set.opts.Hostname, Rule: r.Name, Source: r.Source, Priority: r.Priority, Time: ev.Time(), Tags: r.Tags,
		TimeISO8601: m.set.opts.TimeISO8601,
	}
	m.render.render(r.out, ev, a)
	return a
}
