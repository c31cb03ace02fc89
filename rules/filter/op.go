package filter

// An Op is an operator.
type Op uint8

// Operators. Equal is both = and ==.
const (
	Exists Op = iota + 1
	Less
	LessEqual
	Greater
	GreaterEqual
	Equal
	DoubleEqual // as Equal; kept apart for printing
	NotEqual
	Glob
	IGlob
	Contains
	IContains
	BContains
	StartsWith
	BStartsWith
	EndsWith
	Regex
	Intersects
	In
	PMatch
)

var opNames = [...]string{
	Exists: "exists", Less: "<", LessEqual: "<=", Greater: ">", GreaterEqual: ">=", Equal: "=", DoubleEqual: "==", NotEqual: "!=",
	Glob: "glob", IGlob: "iglob", Contains: "contains", IContains: "icontains", BContains: "bcontains", StartsWith: "startswith",
	BStartsWith: "bstartswith", EndsWith: "endswith", Regex: "regex", Intersects: "intersects", In: "in", PMatch: "pmatch",
}

// String is the operator as it is written.
func (o Op) String() string { return opNames[o] }

// OpByName returns the operator written as name.
func OpByName(name string) (Op, bool) {
	for op, n := range opNames {
		if n == name && n != "" {
			return Op(op), true
		}
	}
	return 0, false
}

// IsList reports whether the right-hand side of o is a list.
func (o Op) IsList() bool { return o == In || o == Intersects || o == PMatch }

// IsNumeric reports whether the grammar wants a number on the right-hand side of o.
func (o Op) IsNumeric() bool { return o >= Less && o <= GreaterEqual }

// A Modifier says how many of the values of a list an operator must hold for.
type Modifier uint8

// Modifiers. The zero Modifier is none.
const (
	OneOf Modifier = iota + 1 // exactly one
	AnyOf                     // at least one
	AllOf                     // all, and there is one
)

var modNames = [...]string{"", "oneof", "anyof", "allof"}

// String is the modifier as it is written.
func (m Modifier) String() string { return modNames[m] }

// The order of the operators in an error message, and in which they are tried: no operator stands behind one that is its prefix.
var (
	unaryOps = []Op{Exists}
	numOps   = []Op{LessEqual, Less, GreaterEqual, Greater}
	strOps   = []Op{DoubleEqual, Equal, NotEqual, Glob, IGlob, Contains, IContains, BContains, StartsWith, BStartsWith, EndsWith, Regex}
	listOps  = []Op{Intersects, In, PMatch}
)

// Operators returns all operators in the order of Falco's messages.
func Operators() []Op {
	ops := append([]Op{}, unaryOps...)
	ops = append(ops, numOps...)
	ops = append(ops, strOps...)
	return append(ops, listOps...)
}

var transformers = []string{"tolower", "toupper", "b64", "basename", "len", "join", "concat", "getopt"}

// Transformers returns the names of the transformers, without val.
func Transformers() []string { return append([]string{}, transformers...) }
