package sensor

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	rulematch "github.com/tiercel-project/tiercel/rules/match"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/extract"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

// unsoundEvery is how often at most it is logged that the kernel filter is wrong about a rule.
const unsoundEvery = time.Minute

const (
	maxUnsoundRules  = 1024 // of which the time of the last line is kept
	maxUnsoundValues = 16   // of an event, in a line
)

// An unsound tells of matches that the kernel filter would have kept from user space, had the event not been one that is checked. Whoever reads
// the line is to see what was compared without having the event.
type unsound struct {
	log  *slog.Logger
	last map[string]uint64 // boot time of the last line, by rule
}

// tell logs a match of r, unless it did a short time ago.
func (u *unsound) tell(r *rules.Rule, ev *event.Event, e *extract.Event, now uint64) {
	if last, ok := u.last[r.Name]; ok && now-last < uint64(unsoundEvery) {
		return
	}
	if u.last == nil || len(u.last) >= maxUnsoundRules {
		u.last = map[string]uint64{}
	}
	u.last[r.Name] = now
	decided, _ := filter.Describe(r.Program())
	u.log.Warn("the kernel filter would have dropped an event that matches: report this with the rule", "rule", r.Name,
		"event_type", ev.Type.String(), "compared", strings.Join(decided, ", "), "values", strings.Join(valuesOf(r.Program(), ev.Type, e), ", "),
		"generation", ev.Generation)
}

// valuesOf are the fields that the condition p looks at in events of type t, with their values in e.
func valuesOf(p *rulematch.Program, t field.EventType, e *extract.Event) []string {
	var out []string
	p.RootFor(t).Walk(func(n *rulematch.Node) {
		if n.Kind != rulematch.Check || n.Atom.Left.Kind != rulematch.FieldOperand || len(out) >= maxUnsoundValues {
			return
		}
		var v field.Value
		text := n.Atom.Left.String() + "="
		if e.Extract(&n.Atom.Left.Ref, field.AsPassed, &v) {
			text += string(field.AppendText(nil, n.Atom.Left.Type, &v))
		} else {
			text += "<NA>"
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	})
	return out
}
