package function

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/rules/spell"
	"github.com/tiercel-project/tiercel/runtime/capability"
)

// An ID says which function: deleting one and making it again is another, with another UID.
type ID struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	UID    string `json:"uid"`
}

func (id ID) String() string { return id.Tenant + "/" + id.Name + "/" + id.UID }

// Token is the function's name in subjects and keys.
func (id ID) Token() string { return Token(id.Tenant, id.Name) }

// Capability is id as package capability names it.
func (id ID) Capability() capability.Function {
	return capability.Function{Tenant: id.Tenant, Name: id.Name, UID: id.UID}
}

// Token is bus.FunctionToken: <tenant>_<name>, dots as _. No tenant and no name contains _, so it is unambiguous.
func Token(tenant, name string) string { return bus.FunctionToken(tenant, name) }

// Invocation is the id of the invocation that handles the event: the same for every delivery, on every runtime. It is a ULID whose time
// is the event's and whose randomness is a hash of the function's UID and the event's id. Salt tells apart what is not the event's own
// invocation (a forgery, a manual invocation); it is empty for that.
func (id ID) Invocation(eventID string, at time.Time, salt string) string {
	h := sha256.New()
	for _, part := range []string{id.UID, eventID, salt} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	var u ulid.ULID
	copy(u[6:], h.Sum(nil))
	if ms := at.UnixMilli(); ms > 0 {
		_ = u.SetTime(min(uint64(ms), ulid.MaxTime()))
	}
	return u.String()
}

// A Function is a document compiled: it says which events are for it. It does not change and is safe for concurrent use.
type Function struct {
	ID  ID
	Doc *Document

	triggers []trigger
}

type trigger struct {
	rules            []string // globs
	rank             int      // at most; -1: any
	sources, tags    []string
	include, exclude []string // globs
	condition        *condition
}

// Compile prepares a parsed document for matching.
func Compile(id ID, d *Document) (*Function, error) {
	f := &Function{ID: id, Doc: d}
	var errs []error
	for i, t := range d.Spec.Triggers {
		c := trigger{rank: priorityRank(t.Priority), sources: t.Sources, tags: t.Tags}
		for _, r := range t.Rules {
			c.rules = append(c.rules, glob(r))
		}
		if t.Namespaces != nil {
			for _, n := range t.Namespaces.Include {
				c.include = append(c.include, glob(n))
			}
			for _, n := range t.Namespaces.Exclude {
				c.exclude = append(c.exclude, glob(n))
			}
		}
		if t.Condition != "" {
			var err error
			if c.condition, err = compileCondition(t.Condition); err != nil {
				errs = append(errs, d.problem("spec.triggers["+strconv.Itoa(i)+"].condition", "", err))
			}
		}
		f.triggers = append(f.triggers, c)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return f, nil
}

// Selects reports whether a trigger selects the event.
func (f *Function) Selects(e *bus.Event, m *bus.MatchData) bool {
	return slices.ContainsFunc(f.triggers, func(t trigger) bool { return t.selects(e, m) })
}

func (t *trigger) selects(e *bus.Event, m *bus.MatchData) bool {
	anyGlob := func(globs []string, name string) bool {
		return slices.ContainsFunc(globs, func(g string) bool { return matchGlob(g, name) })
	}
	switch {
	case len(t.rules) != 0 && !anyGlob(t.rules, m.Rule):
	case t.rank >= 0 && !atLeast(m.Priority, t.rank):
	case len(t.sources) != 0 && !slices.Contains(t.sources, m.Source):
	case len(t.tags) != 0 && !slices.ContainsFunc(t.tags, func(tag string) bool { return slices.Contains(m.Tags, tag) }):
	case len(t.include) != 0 && (m.Target.Namespace == "" || !anyGlob(t.include, m.Target.Namespace)):
	case m.Target.Namespace != "" && anyGlob(t.exclude, m.Target.Namespace):
	case t.condition != nil && !t.condition.holds(e, m):
	default:
		return true
	}
	return false
}

func atLeast(priority string, rank int) bool {
	r := priorityRank(priority)
	return r >= 0 && r <= rank
}

// maxFilters bounds the subjects of one consumer.
const maxFilters = 48

// Filters returns the subjects a consumer for the function asks for: at least every event that a trigger can select, no two of them
// overlapping. It is coarse; Selects is exact.
func (f *Function) Filters() []string {
	set := map[string]bool{}
	for _, t := range f.triggers {
		for _, s := range orStar(literals(t.sources, bus.RuleToken)) {
			for _, p := range prioritiesUpTo(t.rank) {
				for _, r := range orStar(literals(t.rules, bus.RuleToken)) {
					for _, ns := range orStar(literals(t.include, bus.NamespaceToken)) {
						set["tiercel.events."+s+"."+p+"."+r+"."+ns+".*"] = true
						if len(set) > 4*maxFilters {
							return []string{bus.EventsSubjects}
						}
					}
				}
			}
		}
	}
	var filters []string
	for s := range set {
		covered := false
		for o := range set {
			covered = covered || o != s && covers(o, s)
		}
		if !covered {
			filters = append(filters, s)
		}
	}
	slices.Sort(filters)
	if len(filters) > maxFilters || anyOverlap(filters) {
		return []string{bus.EventsSubjects}
	}
	return filters
}

// literals is the tokens of names without wildcards, or nil if one has a wildcard.
func literals(globs []string, token func(string) string) []string {
	var out []string
	for _, g := range globs {
		if strings.ContainsAny(g, "*?") {
			return nil
		}
		name := strings.NewReplacer(`\\`, `\`, `\[`, `[`, "\x00", "/").Replace(g)
		if t := token(name); !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

func orStar(tokens []string) []string {
	if len(tokens) == 0 {
		return []string{"*"}
	}
	return tokens
}

func prioritiesUpTo(rank int) []string {
	if rank < 0 || rank == len(Priorities)-1 {
		return []string{"*"}
	}
	return Priorities[:rank+1]
}

func covers(wide, narrow string) bool {
	return tokensMatch(wide, narrow, func(w, n string) bool { return w == "*" || w == n })
}

func anyOverlap(filters []string) bool {
	for i, a := range filters {
		for _, b := range filters[i+1:] {
			if tokensMatch(a, b, func(x, y string) bool { return x == "*" || y == "*" || x == y }) {
				return true
			}
		}
	}
	return false
}

func tokensMatch(a, b string, same func(x, y string) bool) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range as {
		if !same(as[i], bs[i]) {
			return false
		}
	}
	return true
}

// UnknownRules returns a problem for every rule name without wildcards, and every pattern, that matches none of the known rules.
// They are warnings: the rule may be loaded later, or elsewhere.
func (d *Document) UnknownRules(known []string) []*PosError {
	var out []*PosError
	for i, t := range d.Spec.Triggers {
		for j, r := range t.Rules {
			g := glob(r)
			if slices.ContainsFunc(known, func(k string) bool { return matchGlob(g, k) }) {
				continue
			}
			p := "spec.triggers[" + strconv.Itoa(i) + "].rules[" + strconv.Itoa(j) + "]"
			out = append(out, d.problem(p, spell.Nearest(r, known), fmt.Errorf("no rule is named %q", r)))
		}
	}
	return out
}
