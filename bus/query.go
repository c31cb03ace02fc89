package bus

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// priorities of rules, most urgent first, as tokens.
var priorities = []string{"emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"}

// priorityRank is the place of a priority (any case; "info" too) in priorities, -1 if it is none.
func priorityRank(s string) int {
	s = strings.ToLower(s)
	if s == "info" {
		s = "informational"
	}
	return slices.Index(priorities, s)
}

// A Query selects events of the stream EVENTS. The zero Query is all of them from now on.
type Query struct {
	Rules      []string // names, with * and ? as wildcards; any of them. Case counts.
	Namespaces []string // any of them; "-" is the host
	Sources    []string // any of them: "syscall", "k8s_audit", …
	Node       string
	Priority   string // at least

	All   bool      // from the first event that the stream still has
	Since time.Time // or from those stored since
	Until time.Time // up to those stored before
}

// Validate returns all that is wrong with q.
func (q *Query) Validate() error {
	if q.Priority != "" && priorityRank(q.Priority) < 0 {
		return fmt.Errorf("priority %q is none of %s", q.Priority, strings.Join(priorities, ", "))
	}
	for _, r := range q.Rules {
		if _, err := path.Match(r, ""); err != nil {
			return fmt.Errorf("rule %q: malformed pattern", r)
		}
	}
	for _, ns := range q.Namespaces {
		if ns != "-" && NamespaceToken(ns) == InvalidToken {
			return fmt.Errorf("namespace %q is no Kubernetes name", ns)
		}
	}
	if q.Node != "" && NodeToken(q.Node) == InvalidToken {
		return fmt.Errorf("node %q is no Kubernetes name", q.Node)
	}
	return nil
}

// maxFilters bounds the subjects a consumer is asked for; beyond, the client filters.
const maxFilters = 64

// subjects are the filters that let through all that q selects, and as little else as they can: rules of one token, and patterns, are
// told apart by match.
func (q *Query) subjects() []string {
	any := []string{"*"}
	sources, prios, rules, namespaces := any, any, any, any
	if len(q.Sources) > 0 {
		sources = tokens(q.Sources, RuleToken)
	}
	if rank := priorityRank(q.Priority); rank >= 0 && rank < len(priorities)-1 {
		prios = priorities[:rank+1]
	}
	if len(q.Rules) > 0 && !slices.ContainsFunc(q.Rules, isPattern) {
		rules = tokens(q.Rules, RuleToken)
	}
	if len(q.Namespaces) > 0 {
		namespaces = tokens(q.Namespaces, namespaceFilter)
	}
	node := "*"
	if q.Node != "" {
		node = NodeToken(q.Node)
	}
	if len(sources)*len(prios)*len(rules)*len(namespaces) > maxFilters {
		return []string{EventsSubjects}
	}
	if q.Node+sources[0]+prios[0]+rules[0]+namespaces[0] == "****" {
		return []string{EventsSubjects} // also what is misaddressed
	}
	var out []string
	for _, s := range sources {
		for _, p := range prios {
			for _, r := range rules {
				for _, ns := range namespaces {
					out = append(out, "tiercel.events."+s+"."+p+"."+r+"."+ns+"."+node)
				}
			}
		}
	}
	return out
}

func namespaceFilter(ns string) string {
	if ns == "-" {
		ns = ""
	}
	return NamespaceToken(ns)
}

func isPattern(s string) bool { return strings.ContainsAny(s, `*?[\`) }

// tokens are the different tokens of names.
func tokens(names []string, token func(string) string) []string {
	var out []string
	for _, n := range names {
		if t := token(n); !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// A selector is a Query compiled for match.
type selector struct {
	q                   *Query
	sources, namespaces []string // tokens
	rank                int      // of the lowest priority, or -1
	rules               []string // tokens of names
	patterns            []string
}

func (q *Query) selector() *selector {
	s := &selector{q: q, sources: tokens(q.Sources, RuleToken), namespaces: tokens(q.Namespaces, namespaceFilter), rank: -1}
	if q.Priority != "" {
		s.rank = priorityRank(q.Priority)
	}
	for _, r := range q.Rules {
		if isPattern(r) {
			s.patterns = append(s.patterns, noSlash(r))
		} else {
			s.rules = append(s.rules, RuleToken(r))
		}
	}
	return s
}

// noSlash takes the meaning away that path.Match sees in a slash.
func noSlash(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

// match reports whether the query selects r. It decides all that the consumer's subjects leave open. A rule's name that is only given
// roughly ("terminal shell in container") is found by its token.
func (s *selector) match(r *Received) bool {
	a, err := ParseEventSubject(r.Subject)
	if err != nil {
		return len(s.sources)+len(s.namespaces)+len(s.q.Rules) == 0 && s.q.Node == "" && s.rank < 0
	}
	rank := slices.Index(priorities, a.Priority)
	switch {
	case len(s.sources) > 0 && !slices.Contains(s.sources, a.Source),
		s.rank >= 0 && (rank < 0 || rank > s.rank),
		len(s.namespaces) > 0 && !slices.Contains(s.namespaces, NamespaceToken(a.Namespace)),
		s.q.Node != "" && a.Node != s.q.Node:
		return false
	case len(s.q.Rules) == 0, slices.Contains(s.rules, a.Rule):
		return true
	}
	rule := a.Rule
	if r.Event != nil && r.Event.Rule != "" {
		rule = r.Event.Rule
	}
	return slices.ContainsFunc(s.patterns, func(p string) bool {
		ok, _ := path.Match(p, noSlash(rule))
		return ok
	})
}
