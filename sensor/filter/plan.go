package filter

import (
	"cmp"
	"maps"
	"slices"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/match"
)

// An Options says what besides the rules a Plan obeys.
type Options struct {
	// Shadow has events that would be dropped leave the kernel all the same, marked, so that each verdict is checked.
	Shadow bool
}

// SampleEvery is of how many drops one is emitted to be checked, on average.
const SampleEvery = 10000

// maxNames bounds the sets of process names that the kernel tells apart.
const maxNames = 256

// A Plan is what the kernel is told of a set of rules. It is immutable.
type Plan struct {
	// Generation numbers the plans of a sensor; events carry it.
	Generation uint32
	// Types are the event types that some rule may match.
	Types field.EventSet
	// Paths are those of Types whose path arguments rules compare.
	Paths field.EventSet
	// Filters decide, by event type. A type of Types without one leaves the kernel whatever it is.
	Filters map[field.EventType]*Filter
	// Names are the process names that rules tell apart, each with the bits of the tests that it meets.
	Names map[string][maxNames / 64]uint64

	opts Options
}

// A Filter is the condition under which an event of one type may match some rule.
type Filter struct {
	Type field.EventType
	Expr *Expr

	// Early is Expr as far as the call itself tells, Task as far as that and its task do.
	early, task *Expr
	// Of process events, unless likely is nil: Expr is "likely or broad", of which broad is what the rules for which Broad is true say.
	likely, broad *Expr
}

// Broad reports whether the kernel can tell next to nothing of the condition p for process events of type t: it may be true of what has none of
// the names and texts that p compares. What only such rules may match is marked, and compared with no others.
func Broad(p *match.Program, t field.EventType) bool {
	if LifeOf(t) == NoLife || !p.EventTypes().Has(t) {
		return false
	}
	return mayBe(p.RootFor(t), t, false).ordinary()
}

// Compile makes a plan of conditions.
func Compile(programs []*match.Program, generation uint32, opts Options) *Plan {
	p := &Plan{Generation: generation, Filters: map[field.EventType]*Filter{}, Names: map[string][maxNames / 64]uint64{}, opts: opts}
	c := compiler{plan: p, names: map[string]*Test{}}
	var types field.EventSet
	for _, prog := range programs {
		types = types.Union(prog.EventTypes())
	}
	for t := range types.All() {
		c.compile(t, programs)
	}
	return p
}

// Everything is the plan that lets every event of types out.
func Everything(types field.EventSet) *Plan { return &Plan{Types: types, Paths: types} }

type compiler struct {
	plan  *Plan
	names map[string]*Test
}

// compile adds what is to be done with events of type t.
func (c *compiler) compile(t field.EventType, programs []*match.Program) {
	var any, broad, likely []*Expr
	paths := false
	for _, prog := range programs {
		if !prog.EventTypes().Has(t) {
			continue
		}
		root := prog.RootFor(t)
		if root.Kind != match.False {
			paths = paths || comparesPath(root)
			e := mayBe(root, t, false)
			if any = append(any, e); e.ordinary() {
				broad = append(broad, e)
			} else {
				likely = append(likely, e)
			}
		}
	}
	e := join(Or, any)
	if e.Op == False {
		return
	}
	c.plan.Types.Add(t)
	if paths {
		c.plan.Paths.Add(t)
	}
	f := &Filter{Type: t, Expr: e.known(c.number)}
	if LifeOf(t) != NoLife && len(broad) > 0 {
		f.likely, f.broad = join(Or, likely).known(c.number), join(Or, broad).known(c.number)
		if f.likely.Op == True {
			f.likely, f.broad = nil, nil
		}
	}
	if e = f.Expr; e.Op == True && f.likely == nil {
		return
	}
	f.early = e.known(func(t *Test) bool { return t.stage == StageCall })
	f.task = e.known(func(t *Test) bool { return t.stage != StagePath })
	c.plan.Filters[t] = f
}

// comparesPath reports whether a condition looks at a path.
func comparesPath(n *match.Node) bool {
	found := false
	n.Walk(func(n *match.Node) {
		if n.Kind == match.Check {
			found = found || looksAtPath(n.Atom.Left) || n.Atom.Right != nil && looksAtPath(n.Atom.Right)
		}
	})
	return found
}

func looksAtPath(o *match.Operand) bool {
	if o.Kind == match.FieldOperand && (o.Path || o.Ref.ID == field.FDNameraw || fsPaths[o.Ref.ID]) {
		return true
	}
	return slices.ContainsFunc(o.Args, looksAtPath)
}

// fsPaths are fields with one form that are paths nevertheless.
var fsPaths = map[field.ID]bool{field.FsPathNameraw: true, field.FsPathSourceraw: true, field.FsPathTargetraw: true}

// mayBe is the condition under which n, or with not its negation, may be true.
func mayBe(n *match.Node, t field.EventType, not bool) *Expr {
	switch n.Kind {
	case match.True, match.False:
		return constant(map[bool]Op{true: True, false: False}[(n.Kind == match.True) != not])
	case match.Not:
		return mayBe(n.Kids[0], t, !not)
	case match.Check:
		return literalOf(n.Atom, t, not)
	}
	kids := make([]*Expr, len(n.Kids))
	for i, k := range n.Kids {
		kids[i] = mayBe(k, t, not)
	}
	if (n.Kind == match.And) != not {
		return join(And, kids)
	}
	return join(Or, kids)
}

// number gives a test of names its bit, and reports whether the kernel can tell the test at all.
func (c *compiler) number(t *Test) bool {
	if t.Kind != Names {
		return true
	}
	if same, ok := c.names[t.key]; ok {
		t.Name = same.Name
		return true
	}
	t.Name = len(c.names)
	if t.Name >= maxNames {
		return false
	}
	c.names[t.key] = t
	for _, s := range t.Strings {
		bits := c.plan.Names[s]
		bits[t.Name/64] |= 1 << (t.Name % 64)
		c.plan.Names[s] = bits
	}
	return true
}

// Sorted returns the filters in the order of their event types.
func (p *Plan) Sorted() []*Filter {
	return slices.SortedFunc(maps.Values(p.Filters), func(a, b *Filter) int { return cmp.Compare(a.Type, b.Type) })
}

// TooLarge returns the event types whose conditions make programs that no kernel takes, whatever else it would say, with why.
func (p *Plan) TooLarge() map[field.EventType]error {
	env := &Env{V1Controller: -1, Trie: func(*Trie) (int, error) { return 0, nil }}
	out := map[field.EventType]error{}
	for _, f := range p.Sorted() {
		if _, err := f.Assemble(p, env, Next{Whole: true}); err == nil {
			continue
		}
		if _, err := f.Assemble(p, env, Next{Short: true}); err != nil {
			out[f.Type] = err
		}
	}
	return out
}
