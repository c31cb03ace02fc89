package rules

import (
	"slices"
	"strings"
)

// selectRules enables and disables rules as opts say.
func selectRules(set []*Rule, opts Options) {
	for _, s := range opts.Select {
		for _, r := range set {
			if s.Disable != nil && s.Disable.selects(r) {
				r.Enabled = false
			}
			if s.Enable != nil && s.Enable.selects(r) {
				r.Enabled = true
			}
		}
	}
	for _, r := range set {
		if opts.MinPriority != nil && r.Priority > *opts.MinPriority {
			r.Enabled = false
		}
	}
}

// selects reports whether s selects r.
func (s *Selector) selects(r *Rule) bool {
	if s.Rule != "" && wildcard(s.Rule, r.Name) {
		return true
	}
	return s.Tag != "" && slices.Contains(r.Tags, s.Tag)
}

// wildcard reports whether name is pattern, in which * stands for any text.
func wildcard(pattern, name string) bool {
	head, rest, ok := strings.Cut(pattern, "*")
	if !ok {
		return pattern == name
	}
	name, ok = strings.CutPrefix(name, head)
	if !ok {
		return false
	}
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, part)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(part):], next
	}
}
