package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// topTypes is how many event types are named of those that the filter drops or lets out most.
const topTypes = 5

// judgeBackend says where paths come from, and what that means.
func judgeBackend(backends []sample) []Finding {
	for _, s := range backends {
		switch {
		case s.value == 0:
		case s.labels["backend"] == "L":
			return []Finding{found(OK, "backend L: paths of all calls are the kernel's own copies")}
		default:
			return []Finding{found(Note, "backend T: paths of calls other than open are read from the program's memory, and a thread that swaps one "+
				"during the call may show another; opens, execs and connects are never wrong").
				hint("a kernel that lets programs be attached to its functions (Debian's do) has backend L")}
		}
	}
	return nil
}

// A tally is what the filter did with the calls of one event type, or of all.
type tally struct {
	name             string
	stages           map[string]float64 // dropped, by what decided it
	emitted, sampled float64
}

func (t *tally) dropped() float64 {
	n := 0.0
	for _, v := range t.stages {
		n += v
	}
	return n
}

func (t *tally) seen() float64 { return t.dropped() + t.emitted }

// tallies adds up what the filter did, by event type.
func tallies(byName map[string][]sample) (all tally, types []*tally) {
	all.stages = map[string]float64{}
	of := map[string]*tally{}
	get := func(s sample) *tally {
		name := s.labels["event_type"]
		if of[name] == nil {
			of[name] = &tally{name: name, stages: map[string]float64{}}
			types = append(types, of[name])
		}
		return of[name]
	}
	for _, s := range byName["tiercel_sensor_filter_dropped_total"] {
		get(s).stages[s.labels["stage"]] += s.value
		all.stages[s.labels["stage"]] += s.value
	}
	for _, s := range byName["tiercel_sensor_filter_emitted_total"] {
		get(s).emitted += s.value
		all.emitted += s.value
	}
	for _, s := range byName["tiercel_sensor_filter_sampled_total"] {
		get(s).sampled += s.value
		all.sampled += s.value
	}
	return all, types
}

// judgeFilter says what share of the calls was dropped in the kernel, and where; which types leave most; and which have no filter.
func judgeFilter(byName map[string][]sample) []Finding {
	all, types := tallies(byName)
	var fs []Finding
	if n := all.seen(); n > 0 {
		unsound := 0.0
		for _, s := range byName["tiercel_sensor_filter_unsound_total"] {
			unsound += s.value
		}
		fs = append(fs, found(OK, "of %.0f calls that some rule asks for, the kernel dropped %s, for no rule can match them: %s; %.0f of those were checked, %.0f matched after all",
			n, percent(all.dropped(), n), stageShares(&all, n), all.sampled, unsound))
		fs = append(fs, found(OK, "most dropped: %s", top(types, (*tally).dropped)))
		if all.emitted > 0 {
			fs = append(fs, found(OK, "most left for the rules to decide: %s", top(types, func(t *tally) float64 { return t.emitted })))
		}
	}
	for _, s := range byName["tiercel_sensor_filter_refused"] {
		fs = append(fs, found(Action, "no kernel filter for %s, so that every such call is read: %s", s.labels["event_type"], refusal(s)).
			hint("shorten the lists in the rules about "+s.labels["event_type"]+", or switch some of them off; `tiercel rule list -o wide` shows what the kernel decides"))
	}
	return fs
}

// refusal is why the kernel did not take the filter of an event type.
func refusal(s sample) string {
	switch s.labels["reason"] {
	case "too_large":
		return "the rules make it too large"
	case "verifier":
		return "the kernel's verifier refused it"
	}
	return "the kernel did not load it: see the log"
}

// Refused asks the tiercel that serves metrics at addr which event types have no kernel filter, though the rules allow of one, and why. Where
// none answers there are none.
func Refused(ctx context.Context, client *http.Client, addr string) map[string]string {
	e := &Env{HTTP: addr, Client: client}
	resp, err := e.get(ctx, "/metrics")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	out := map[string]string{}
	for _, s := range parseMetrics(resp.Body) {
		if s.name == "tiercel_sensor_filter_refused" && s.value > 0 {
			out[s.labels["event_type"]] = refusal(s)
		}
	}
	return out
}

// stageShares says what decided.
func stageShares(t *tally, n float64) string {
	var parts []string
	for _, s := range []struct{ stage, text string }{
		{"call", "by the call alone"}, {"task", "by its process"}, {"sketch", "by a sketch of its path"}, {"path", "by its paths"}, {"socket", "by its socket"},
	} {
		if v := t.stages[s.stage]; v > 0 {
			parts = append(parts, percent(v, n)+" "+s.text)
		}
	}
	if parts == nil {
		return "nothing was"
	}
	return strings.Join(parts, ", ")
}

// top names the types that have most of something.
func top(types []*tally, of func(*tally) float64) string {
	types = slices.DeleteFunc(slices.Clone(types), func(t *tally) bool { return of(t) == 0 })
	slices.SortFunc(types, func(a, b *tally) int { return cmp.Or(cmp.Compare(of(b), of(a)), cmp.Compare(a.name, b.name)) })
	var parts []string
	for i, t := range types {
		if i == topTypes {
			parts = append(parts, fmt.Sprintf("%d other types", len(types)-topTypes))
			break
		}
		parts = append(parts, fmt.Sprintf("%s %.0f (%s of them)", t.name, of(t), percent(of(t), t.seen())))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func percent(part, whole float64) string { return fmt.Sprintf("%.1f %%", 100*part/whole) }
