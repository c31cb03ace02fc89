package function

import (
	"encoding/json"
	"time"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/capability"
)

// Fixed values of a document's head.
const (
	APIVersion = "tiercel.dev/v1alpha1"
	Kind       = "Function"
)

// DefaultTenant is the tenant of a document whose metadata names no namespace.
const DefaultTenant = "default"

// A Document is a Function document as written. Parse makes one and fills in the defaults.
type Document struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   Metadata `json:"metadata"`
	Spec       Spec     `json:"spec"`

	source *source // where it was written; nil when it came from the store
}

// Metadata names a function.
type Metadata struct {
	Name        string            `json:"name"`                // DNS subdomain
	Namespace   string            `json:"namespace,omitempty"` // the tenant, a DNS label; default "default"
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// A Spec is what a function is to do, when, and how far it may go.
type Spec struct {
	Module   string            `json:"module"`            // builtin:NAME, file:PATH (relative to the document), sha256:HEX
	Mode     capability.Mode   `json:"mode,omitempty"`    // dryRun (default) or enforce
	Triggers []Trigger         `json:"triggers"`          // at least one; an event that any of them selects is handled
	Config   json.RawMessage   `json:"config,omitempty"`  // an object that fits the module's schema
	Secrets  []string          `json:"secrets,omitempty"` // names of secrets the function may refer to
	Grants   capability.Grants `json:"grants,omitzero"`   // deny by default
	Limits   Limits            `json:"limits,omitzero"`   //
	Retry    Retry             `json:"retry,omitzero"`    // of calls that fail transiently
	Dedup    *Dedup            `json:"dedup,omitempty"`   // nil: no two events are the same
	Budget   *Budget           `json:"budget,omitempty"`  // nil: no bound
	Revert   *Revert           `json:"revert,omitempty"`  // nil: only on request
	MaxAge   Duration          `json:"maxAge,omitempty"`  // older events end as expired; default 5m for enforce, none for dryRun
	Suspend  bool              `json:"suspend,omitempty"` // take no events
	Protect  *Protect          `json:"protect,omitempty"` // what is never acted on; nil: the runtime's own list
	OnLag    string            `json:"onLag,omitempty"`   // skip (default)
	Reenter  bool              `json:"reenter,omitempty"` // act more than once per root event; true is refused until outcomes can trigger functions
	Comment  string            `json:"comment,omitempty"` // for people
}

// A Trigger selects events. What is absent selects all.
type Trigger struct {
	Rules      []string    `json:"rules,omitempty"`      // rule names; * and ? are wildcards
	Priority   string      `json:"priority,omitempty"`   // at least this: emergency … debug
	Sources    []string    `json:"sources,omitempty"`    // rule sources: syscall, k8s_audit
	Tags       []string    `json:"tags,omitempty"`       // any of
	Namespaces *Namespaces `json:"namespaces,omitempty"` // of the target
	Condition  string      `json:"condition,omitempty"`  // in the rules' own language, over fields and target
}

// Namespaces selects by the target's namespace; * and ? are wildcards. Exclude wins.
type Namespaces struct {
	Include []string `json:"include,omitempty"` // empty: all, events of a host too
	Exclude []string `json:"exclude,omitempty"`
}

// Limits bound one invocation and how many run at once.
type Limits struct {
	Timeout     Duration `json:"timeout,omitempty"`     // of the guest. Up to 5m. Default 5s
	Memory      Size     `json:"memory,omitempty"`      // linear memory. Up to 1Gi. Default 64Mi
	Concurrency int      `json:"concurrency,omitempty"` // in one runtime. 1 to 256. Default 4
	Fuel        int64    `json:"fuel,omitempty"`        // instructions of the guest, roughly; 0: by time only
	Output      Size     `json:"output,omitempty"`      // result. Up to 1Mi. Default 64Ki
	Log         Size     `json:"log,omitempty"`         // log. Up to 1Mi. Default 64Ki
	Calls       int      `json:"calls,omitempty"`       // operations. Up to 10000. Default 100
}

// Retry is what happens to calls that fail transiently.
type Retry struct {
	Attempts int      `json:"attempts,omitempty"` // tries after the first, per call. 0 to 100. Default 8
	Backoff  Duration `json:"backoff,omitempty"`  // before the first of them; doubled for each next, at most 1m, jittered. Default 1s
}

// Dedup skips events like one that is being handled or was.
type Dedup struct {
	Key    []string `json:"key"`    // attributes: rule, priority, hostname, source, target.…, or field names
	Window Duration `json:"window"` // from the first one
}

// A Budget bounds how often a function acts.
type Budget struct {
	Max   int      `json:"max"`
	Per   Duration `json:"per"`
	Scope string   `json:"scope,omitempty"` // function (default), namespace, node, rule
	Over  string   `json:"over,omitempty"`  // drop (default)
}

// Revert says when effects are undone by themselves.
type Revert struct {
	After Duration `json:"after"` // from the moment before the effect
}

// Protect replaces the runtime's list of what is never acted on.
type Protect struct {
	Namespaces []string `json:"namespaces"`
}

// Defaults of a document.
const (
	DefaultAttempts    = 8
	DefaultBackoff     = time.Second
	MaxBackoff         = time.Minute
	DefaultConcurrency = 4
	MaxConcurrency     = 256
	DefaultMaxAge      = 5 * time.Minute // of enforce
)

// defaults fills in what the document leaves out.
func (d *Document) defaults() {
	s := &d.Spec
	if d.Metadata.Namespace == "" {
		d.Metadata.Namespace = DefaultTenant
	}
	if s.Mode == "" {
		s.Mode = capability.DryRun
	}
	if s.Limits.Timeout == 0 {
		s.Limits.Timeout = Duration(abi.DefaultTimeout)
	}
	if s.Limits.Memory == 0 {
		s.Limits.Memory = abi.DefaultMemory
	}
	if s.Limits.Concurrency == 0 {
		s.Limits.Concurrency = DefaultConcurrency
	}
	if s.Retry.Attempts == 0 && !d.written("spec.retry.attempts") {
		s.Retry.Attempts = DefaultAttempts
	}
	if s.Retry.Backoff == 0 {
		s.Retry.Backoff = Duration(DefaultBackoff)
	}
	if s.MaxAge == 0 && s.Mode == capability.Enforce {
		s.MaxAge = Duration(DefaultMaxAge)
	}
	if s.Grants.Reach == "" {
		s.Grants.Reach = capability.ReachTarget
	}
	if s.Grants.OnUnknown == "" {
		s.Grants.OnUnknown = OnUnknownGiveUp
	}
	if s.Budget != nil && s.Budget.Over == "" {
		s.Budget.Over = "drop"
	}
	if s.Budget != nil && s.Budget.Scope == "" {
		s.Budget.Scope = "function"
	}
}

// What to do when nobody can tell whether an unconditional effect took place.
const (
	OnUnknownGiveUp = "giveUp" // the invocation ends as unknown
	OnUnknownRepeat = "repeat" // at least once
)

// Token is the function's name in subjects and keys: <tenant>_<name>, dots as _. No tenant and no name contains _, so it is unambiguous.
func (m Metadata) Token() string { return Token(m.Namespace, m.Name) }
