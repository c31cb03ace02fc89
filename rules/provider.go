package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/load"
)

// warnRules warns of enabled rules that cannot match, or not in full: by their own doing, because an earlier rule hides them, or because
// their source does not give what they need.
func (c *compiler) warnRules(set []*Rule) {
	for i, r := range set {
		if !r.Enabled {
			continue
		}
		if why, never := r.prog.Never(); never {
			c.col.RuleProblem(load.AsWarning, load.WarnNeverMatches, r.spec, fmt.Sprintf("rule %q never matches: %s", r.Name, why), "")
			continue
		}
		if c.opts.Provider.Event != nil {
			c.warnEvents(r)
		}
		if c.opts.Provider.Field != nil {
			c.warnFields(r)
		}
		if c.opts.Matching == First {
			c.warnShadowed(r, set[:i])
		}
	}
}

// warnEvents names the event types of r that its source does not give.
func (c *compiler) warnEvents(r *Rule) {
	var missing []string
	for t := range r.Events.All() {
		if !c.opts.Provider.Event(r.Source, t) {
			missing = append(missing, t.String())
		}
	}
	switch n := r.Events.Len(); {
	case len(missing) == 0 || n > manyEvents: // a rule for all events takes what there is
	case len(missing) == n:
		c.col.RuleProblem(load.AsWarning, load.WarnNotGiven, r.spec, fmt.Sprintf("rule %q cannot match: no event of the type %s is given", r.Name, strings.Join(missing, ", ")), "")
	default:
		c.col.RuleProblem(load.AsWarning, load.WarnNotGiven, r.spec, fmt.Sprintf("rule %q matches in part only: no event of the type %s is given", r.Name, strings.Join(missing, ", ")), "")
	}
}

// warnFields names the fields in r's condition that its source does not give, and those that its output alone has.
func (c *compiler) warnFields(r *Rule) {
	var missing []string
	for _, ref := range r.prog.Fields() {
		if !c.opts.Provider.Field(r.Source, &ref) && ref.ID != field.EvtDir {
			missing = append(missing, ref.String())
		}
	}
	if len(missing) > 0 {
		c.col.RuleProblem(load.AsWarning, load.WarnNotGiven, r.spec,
			fmt.Sprintf("rule %q needs %s, which has no value yet: comparisons with it are false", r.Name, strings.Join(missing, ", ")), "")
	}
	var printed []string
	for _, ref := range r.out.refs() {
		if name := ref.String(); !c.opts.Provider.Field(r.Source, &ref) && ref.ID != field.EvtDir && !slices.Contains(missing, name) && !slices.Contains(printed, name) {
			printed = append(printed, name)
		}
	}
	if len(printed) > 0 {
		c.col.RuleProblem(load.AsWarning, load.WarnNotGiven, r.spec,
			fmt.Sprintf("rule %q prints %s, which has no value yet", r.Name, strings.Join(printed, ", ")), "")
	}
}

// warnShadowed says so if an earlier rule matches whatever r matches: under Matching First r then never gets an event. That an earlier rule
// is the same is always found; that it is wider only if the options ask to look.
func (c *compiler) warnShadowed(r *Rule, earlier []*Rule) {
	for _, e := range earlier {
		if !e.Enabled || e.Source != r.Source {
			continue
		}
		what := "has the same condition"
		if e.Condition != r.Condition {
			if !c.opts.Lint || !r.prog.Implies(e.prog) {
				continue
			}
			what = "matches whatever this one does"
		}
		c.col.RuleProblem(load.AsWarning, load.WarnShadowed, r.spec, fmt.Sprintf("rule %q never gets an event: %q at %s:%d %s and comes first", r.Name, e.Name, e.File, e.Line, what),
			"put the narrower rule first, or use rule_matching: all")
		return
	}
}
