package load

import (
	"time"

	"github.com/tiercel-project/tiercel/rules/filter"
)

// A List is a list of a rules file after all appends and overrides.
type List struct {
	Name  string
	Items []string
	Used  bool // a macro, a rule or another list refers to it

	items    []text
	sc       *scope
	def      int // position of the definition; redefining keeps it
	resolved *expansion
}

// A Macro is a macro of a rules file after all appends and overrides.
type Macro struct {
	Name string
	Used bool // a rule or another macro refers to it

	cond    text
	sc      *scope
	condSc  *scope
	def     int // position of the definition; redefining keeps it
	file    int // index of the file with the first definition
	visible int // position of the last definition or append: macros defined before it are seen
	tree    *Condition
	state   uint8         // of resolving
	via     *filter.Ident // the name in the condition that is being resolved
}

// A Rule is a rule of a rules file after all appends and overrides.
type Rule struct {
	Name                string
	Source              string // default syscall
	Desc                string
	Priority            Priority
	Tags                []string // sorted, each once
	Enabled             bool     // default true
	WarnEvttypes        bool     // default true
	SkipIfUnknownFilter bool
	Capture             bool
	CaptureDuration     time.Duration
	UnknownSource       bool   // the rule is skipped
	Output              string // trimmed; appends joined by a blank
	File                string
	Line, Col           int

	cond       text
	output     text
	exceptions []*exception
	sc         *scope
	condSc     *scope
	outSc      *scope
	def        int
}

// An exception is an entry of a rule's exceptions.
type exception struct {
	name   string
	fields entry
	comps  entry
	values []entry
	sc     *scope
}

// An entry is a string or a list of entries. The zero entry is not given.
type entry struct {
	given  bool
	isList bool
	item   text
	items  []entry
	at     place
}

// A Requirement is a plugin that a rules file asks for, or one of several that will do.
type Requirement struct {
	Alternatives []Plugin
	sc           *scope
}

// A Plugin is a plugin of Falco's by name and version.
type Plugin struct{ Name, Version string }
