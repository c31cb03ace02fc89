package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/rules/spell"
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

// Unused says of each entry of opts.Select and opts.AppendOutput that concerns no rule of set which one it is, by its YAML path, and what was
// probably meant: a misspelt name switches nothing off.
func Unused(set *Set, opts Options) []error {
	var errs []error
	for i, s := range opts.Select {
		for _, how := range []struct {
			key string
			sel *Selector
		}{{"enable", s.Enable}, {"disable", s.Disable}} {
			if sel := how.sel; sel != nil && !slices.ContainsFunc(set.Rules(), sel.selects) {
				errs = append(errs, fmt.Errorf("ruleSelection[%d].%s: %w", i, how.key, nothing(set, sel.Rule, []string{sel.Tag})))
			}
		}
	}
	for i, a := range opts.AppendOutput {
		m := &a.Match
		used := slices.ContainsFunc(set.Rules(), func(r *Rule) bool { return a.matches(r.Name, r.Source, r.Tags) })
		if !used && (m.Rule != "" || len(m.Tags) > 0) {
			errs = append(errs, fmt.Errorf("appendOutput[%d].match: %w", i, nothing(set, m.Rule, m.Tags)))
		}
	}
	return errs
}

// nothing says that set has no rule of a name, or with tags.
func nothing(set *Set, name string, tags []string) error {
	var names, known []string
	for _, r := range set.Rules() {
		names, known = append(names, r.Name), append(known, r.Tags...)
	}
	if name != "" && !strings.Contains(name, "*") && !slices.Contains(names, name) {
		return fmt.Errorf("no rule is named %q%s", name, meant(name, names))
	}
	for _, t := range tags {
		if t != "" && !slices.Contains(known, t) {
			return fmt.Errorf("no rule has the tag %q%s", t, meant(t, known))
		}
	}
	return errors.New("concerns no rule")
}

func meant(word string, known []string) string {
	if near := spell.Nearest(word, known); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}
