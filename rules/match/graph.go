package match

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"

	"github.com/tiercel-project/tiercel/rules/field"
)

// A graph holds each distinct node and operand of the programs of a plan once, by what it says.
type graph struct {
	nodes map[string]*gnode
	known map[*Node]*gnode
	key   []byte // of the node in hand
	slots map[string]*slot
	said  hash.Hash // of all nodes, in the order of their ids
}

func newGraph() graph {
	return graph{nodes: make(map[string]*gnode), known: make(map[*Node]*gnode), slots: make(map[string]*slot), said: sha256.New()}
}

// A gnode is a node that may be part of many programs.
type gnode struct {
	id   int
	kind Kind
	kids []*gnode // cheapest first
	atom *Atom
	left *slot
	rhs  *slot
	uses int  // by how many nodes and programs
	path bool // its result may differ between the forms of a path
	cost int  // of evaluating it, in about nanoseconds
}

// A slot is where a matcher keeps the value of an operand during an event.
type slot struct {
	id   int
	op   *Operand
	args []*slot
	cost int
}

// intern returns the node of the graph that says what n says.
func (g *graph) intern(n *Node) *gnode {
	if known, ok := g.known[n]; ok {
		return known
	}
	node := &gnode{kind: n.Kind, atom: n.Atom}
	if n.Kind != Check {
		for _, k := range g.flatten(n.Kind, n.Kids) {
			kid := g.intern(k)
			if !slices.Contains(node.kids, kid) {
				node.kids = append(node.kids, kid)
			}
		}
		slices.SortFunc(node.kids, func(a, b *gnode) int { return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(a.id, b.id)) })
	}
	g.key = append(g.key[:0], byte(n.Kind))
	if n.Kind == Check {
		g.key = append(g.key, n.Atom.key...)
	}
	for _, k := range node.kids {
		g.key = binary.AppendUvarint(g.key, uint64(k.id))
	}
	if known, ok := g.nodes[string(g.key)]; ok {
		g.known[n] = known
		return known
	}
	node.id = len(g.nodes)
	g.nodes[string(g.key)], g.known[n] = node, node
	g.said.Write(binary.AppendUvarint(nil, uint64(len(g.key))))
	g.said.Write(g.key)
	g.finish(node)
	return node
}

// flatten replaces kids of the same kind by their kids: (a and (b and c)) is (a and b and c).
func (g *graph) flatten(kind Kind, kids []*Node) []*Node {
	if kind == Not {
		return kids
	}
	var out []*Node
	for _, k := range kids {
		if k.Kind == kind {
			out = append(out, g.flatten(kind, k.Kids)...)
		} else {
			out = append(out, k)
		}
	}
	return out
}

// finish sets what follows from the kids and operands of a new node.
func (g *graph) finish(n *gnode) {
	for _, k := range n.kids {
		k.uses++
		n.path = n.path || k.path
		n.cost += k.cost
	}
	if n.kind != Check {
		return
	}
	n.left = g.slot(n.atom.Left)
	n.cost = n.left.cost + testCost(n.atom)
	n.path = n.atom.Left.Path
	if n.atom.Right != nil {
		n.rhs = g.slot(n.atom.Right)
		n.cost += n.rhs.cost
		n.path = n.path || n.atom.Right.Path
	}
}

// slot returns the slot of o.
func (g *graph) slot(o *Operand) *slot {
	if s, ok := g.slots[o.key]; ok {
		return s
	}
	s := &slot{op: o, cost: operandCost(o)}
	for _, a := range o.Args {
		arg := g.slot(a)
		s.args = append(s.args, arg)
		s.cost += arg.cost
	}
	s.id = len(g.slots)
	g.slots[o.key] = s
	return s
}

// operandCost is about how long it takes to get the value of o, without its arguments. Only the order matters.
func operandCost(o *Operand) int {
	if o.Kind != FieldOperand {
		return 30
	}
	info := o.Ref.ID.Info()
	cost := 10
	switch {
	case manyValued(o) || o.Ref.Arg != "" && info.Class == "process":
		cost = 80
	case info.Class == "container plugin" || info.Class == "k8saudit plugin" || info.Class == "json plugin":
		cost = 40
	case info.Class == "user" || info.Class == "group":
		cost = 40
	case o.Type == field.TypeString:
		cost = 20
	}
	return cost
}

// testCost is about how long the comparison of a takes.
func testCost(a *Atom) int {
	switch a.Op.String() {
	case "exists":
		return 1
	case "regex":
		return 300
	case "glob", "iglob", "icontains", "pmatch":
		return 40
	case "contains", "bcontains":
		return 15
	case "in", "intersects":
		return 10
	}
	return 2 * max(1, len(a.Values))
}
