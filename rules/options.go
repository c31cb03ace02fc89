package rules

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/load"
)

// A Priority is how urgent a rule is; a lower number is more urgent.
type Priority = load.Priority

// Priorities, most urgent first.
const (
	Emergency     = load.Emergency
	Critical      = load.Critical
	Error         = load.Error
	Warning       = load.Warning
	Notice        = load.Notice
	Informational = load.Informational
	Debug         = load.Debug
)

// ParsePriority returns the priority of that name, whatever its case. "info" is Informational.
func ParsePriority(s string) (Priority, error) { return load.ParsePriority(s) }

// A Matching says how many rules may match one event.
type Matching uint8

// Values of Matching.
const (
	First Matching = iota // the first rule that matches, in the order of definition; the default
	All                   // every rule that matches
)

// String returns "first" or "all".
func (m Matching) String() string {
	if m == All {
		return "all"
	}
	return "first"
}

// A Selection enables or disables the rules it selects. Exactly one of Enable and Disable is set.
type Selection struct {
	Enable  *Selector `json:"enable,omitempty" yaml:"enable,omitempty"`
	Disable *Selector `json:"disable,omitempty" yaml:"disable,omitempty"`
}

// A Selector selects rules by name or by tag. One of its fields is set.
type Selector struct {
	Rule string `json:"rule,omitempty" yaml:"rule,omitempty"` // a name, in which * stands for any text
	Tag  string `json:"tag,omitempty" yaml:"tag,omitempty"`
}

// An AppendOutput adds text and fields to the output of the rules it matches.
type AppendOutput struct {
	Match struct {
		Source string   `json:"source,omitempty" yaml:"source,omitempty"` // empty: any
		Tags   []string `json:"tags,omitempty" yaml:"tags,omitempty"`     // the rule has them all
		Rule   string   `json:"rule,omitempty" yaml:"rule,omitempty"`     // empty: any
	} `json:"match" yaml:"match"`
	ExtraOutput     string       `json:"extra_output,omitempty" yaml:"extra_output,omitempty"`         // appended after a blank
	ExtraFields     []ExtraField `json:"extra_fields,omitempty" yaml:"extra_fields,omitempty"`         // added to the output fields
	SuggestedOutput bool         `json:"suggested_output,omitempty" yaml:"suggested_output,omitempty"` // append the fields that the source suggests
}

// An ExtraField is an output field that the rule's template does not name: a field, or a template under a name. In YAML it is the field's
// name, or a mapping of the name to the template.
type ExtraField struct {
	Name   string
	Format string // template; empty: Name is a field
}

// UnmarshalYAML reads either form.
func (f *ExtraField) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		f.Name, f.Format = n.Value, ""
		return nil
	}
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 || n.Content[1].Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: an extra field is a field's name or a mapping of one name to a template", n.Line)
	}
	f.Name, f.Format = n.Content[0].Value, n.Content[1].Value
	return nil
}

// A Provider says what a source of events gives. Rules that need more are named in warnings; without a Provider nothing is checked.
// Both functions may be nil.
type Provider struct {
	// Event reports whether events of type t arrive from the source at all.
	Event func(source string, t field.EventType) bool
	// Field reports whether ref ever has a value in events of the source.
	Field func(source string, ref *field.Ref) bool
}

// Options say how rules are loaded and alerts are written. The zero Options load everything, and match as Falco does by default.
type Options struct {
	Select       []Selection       // applied in order after all files are read
	Matching     Matching          // default First
	MinPriority  *Priority         // rules less urgent are left out; nil keeps all
	AppendOutput []AppendOutput    // applied in order
	StaticFields map[string]string // available as static.<key>
	Hostname     string            // of alerts; empty: the kernel's
	TimeISO8601  bool              // text lines and output_fields carry evt.time.iso8601 instead of evt.time
	Sources      []string          // known event sources; nil: syscall and k8s_audit
	Provider     Provider          // what the sources give
	Lint         bool              // look for what is slow to find as well: rules hidden by wider ones
}
