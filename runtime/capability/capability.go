// Package capability is the one door between a function and the world: it decides whether an operation a guest asked for is granted,
// brings it into a canonical form, carries it out and knows how to take it back. The guest's module never holds a credential.
//
// It leaves to others: when an operation may be carried out and what is recorded about it (runtime/journal, runtime/dispatch), how the
// request got here (runtime/sandbox), and what the operations mean to a guest (functions/abi). Read Registry first, then Scope and Prepared.
//
// The order of one call is always the same. Prepare authorises and looks up what the operation needs (the object's UID, its present
// values), and answers with a canonical request and its inverse: the caller journals both. Execute then does exactly that request, or
// Look finds out whether a call that was interrupted has done it. Revert carries out an inverse. All four are idempotent for one effect id.
package capability

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
)

// A Mode says whether effects are carried out.
type Mode string

// The modes of a function. DryRun is the default of a function document: reads are live, writes are rehearsed.
const (
	DryRun  Mode = "dryRun"
	Enforce Mode = "enforce"
)

// A Class says what a repetition of an effect does, and so what may be done after a crash between its intent and its result.
type Class = abi.Class

// The classes of effects, as functions/abi names them for each operation.
const (
	Conditional   = abi.ClassConditional   // a precondition refuses the repetition: repeat safely
	Convergent    = abi.ClassConvergent    // done when the goal state holds
	Unconditional = abi.ClassUnconditional // a repetition is a second effect: reported unknown rather than guessed
)

// A Reach bounds the objects a function may name, however wide its grants are.
type Reach string

// The reaches. The zero value means ReachTarget.
const (
	ReachTarget    Reach = "target"    // reads: the event's own namespace and node; writes: its pod, what the pod owns, its node
	ReachNamespace Reach = "namespace" // everything in the event's namespace, and its node
	ReachCluster   Reach = "cluster"
)

// Grants is what a function document allows its function; the zero value allows nothing. Keys are those of the document.
type Grants struct {
	Kubernetes []KubernetesGrant `json:"kubernetes,omitempty" yaml:"kubernetes,omitempty"`
	Exec       []ExecGrant       `json:"exec,omitempty" yaml:"exec,omitempty"`
	HTTP       []string          `json:"http,omitempty" yaml:"http,omitempty"`           // URL prefixes
	Node       []string          `json:"node,omitempty" yaml:"node,omitempty"`           // node operations
	KV         bool              `json:"kv,omitempty" yaml:"kv,omitempty"`               // the function's own keys
	Artifacts  bool              `json:"artifacts,omitempty" yaml:"artifacts,omitempty"` // evidence kept with its actions
	Secrets    []string          `json:"secrets,omitempty" yaml:"secrets,omitempty"`
	Reach      Reach             `json:"reach,omitempty" yaml:"reach,omitempty"`
	OnUnknown  string            `json:"onUnknown,omitempty" yaml:"onUnknown,omitempty"` // giveUp (default) or repeat, for unconditional effects
}

// A KubernetesGrant is a rule as RBAC has them. "*" stands for all; ResourceNames and Namespaces, where given, narrow it.
type KubernetesGrant struct {
	APIGroups     []string `json:"apiGroups" yaml:"apiGroups"`
	Resources     []string `json:"resources" yaml:"resources"` // plural, with subresource as pods/eviction
	Verbs         []string `json:"verbs" yaml:"verbs"`         // get, list, create, patch, delete
	ResourceNames []string `json:"resourceNames,omitempty" yaml:"resourceNames,omitempty"`
	Namespaces    []string `json:"namespaces,omitempty" yaml:"namespaces,omitempty"`
}

// A Function names on whose behalf something is done.
type Function struct {
	Tenant string `json:"tenant,omitempty"`
	Name   string `json:"name"`
	UID    string `json:"uid"`
}

// Hash is ten hexadecimal digits that stand for the function wherever names are short: field manager, annotation key, labels.
func (f Function) Hash() string {
	sum := sha256.Sum256([]byte(f.Tenant + "/" + f.Name + "/" + f.UID))
	return hex.EncodeToString(sum[:5])
}

// FieldManager is the constant name under which the function owns fields of Kubernetes objects.
func (f Function) FieldManager() string { return "tiercel-" + f.Hash() }

// Annotation is the key under which objects carry the id of the function's last effect on them.
func (f Function) Annotation() string { return "effect.tiercel.dev/" + f.Hash() }

// A Scope is on whose behalf, about what and how far an operation may go. It is the same for all calls of an invocation.
type Scope struct {
	Function   Function
	Grants     Grants
	Target     bus.Target
	Mode       Mode
	Invocation string          // id
	Event      string          // id of the event
	Rule       string          // that matched
	Depth      int             // outcomes between the root event and this invocation, at most 4
	Root       string          // id of the event the chain began with
	Config     json.RawMessage // the function document's config
}

// Prepared is an operation that is granted, complete and not yet done.
type Prepared struct {
	Op        string          `json:"op"`
	Write     bool            `json:"write,omitempty"` // false: no intent needed, Execute may be repeated at will
	Class     Class           `json:"class,omitempty"` // of a write
	Canonical json.RawMessage `json:"canonical"`       // the request with everything the host filled in; no secret values
	Digest    string          `json:"digest"`          // sha256:<hex> over Op and Canonical
	Inverse   *Inverse        `json:"inverse,omitempty"`
	Summary   string          `json:"summary"` // one line for people: "patch pods default/web-1: metadata.labels"
}

// An Inverse is how a write is taken back. It is complete before the write is done.
type Inverse struct {
	Op           string          `json:"op,omitempty"`
	Request      json.RawMessage `json:"request,omitempty"`
	Irreversible string          `json:"irreversible,omitempty"` // why there is none; then Op is empty
	Summary      string          `json:"summary,omitempty"`
}

// Reversible reports whether Revert can do anything.
func (i *Inverse) Reversible() bool { return i != nil && i.Op != "" }

// A Result is the outcome of an operation that was carried out.
type Result struct {
	Response  json.RawMessage `json:"response,omitempty"`  // the answer as abi describes it, redacted: fit to be stored
	Inverse   *Inverse        `json:"inverse,omitempty"`   // more exact than the Prepared one (a created object's UID); nil: that one stands
	Object    string          `json:"object,omitempty"`    // what was written: "networkpolicies.networking.k8s.io/default/tiercel-1f…"
	Before    json.RawMessage `json:"before,omitempty"`    // a patched or deleted object as it was, redacted: for a diff
	After     json.RawMessage `json:"after,omitempty"`     // a created or patched object as it is
	Rehearsed bool            `json:"rehearsed,omitempty"` // nothing was changed
	Note      string          `json:"note,omitempty"`      // for people: why a rehearsal is weaker than the real thing, what was already done
}

// An Operation implements one name of functions/abi. The request and answer formats are abi's.
type Operation interface {
	Prepare(ctx context.Context, s Scope, request []byte) (*Prepared, error)
	Execute(ctx context.Context, s Scope, p *Prepared, effect string) (Result, error)
	// Look reports whether an interrupted Execute took place. It is asked for writes only.
	Look(ctx context.Context, s Scope, p *Prepared, effect string) (done bool, r Result, err error)
}

// A Reverter is an Operation some of whose effects can be taken back.
type Reverter interface {
	Revert(ctx context.Context, s Scope, i *Inverse, effect string) (Result, error)
}

var (
	// ErrForged is wrapped by errors about events whose target contradicts the cluster: nothing may be done for them.
	ErrForged = errors.New("the event's target contradicts the cluster")
	// ErrUnknown is wrapped by Look where nobody can tell whether an unconditional effect happened.
	ErrUnknown = errors.New("cannot be known whether the effect happened")
)

// A TransientError is a failure that says nothing about the operation: the same call may succeed later.
type TransientError struct {
	Err   error
	After time.Duration // the server asked to wait this long; 0 means it did not say
}

func (e *TransientError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *TransientError) Unwrap() error { return e.Err }

// Transient reports whether err is worth another try of the same call, and how long to wait at least.
func Transient(err error) (after time.Duration, ok bool) {
	if t, ok := errors.AsType[*TransientError](err); ok {
		return t.After, true
	}
	return 0, false
}

// digest is what an approval and a resumed invocation compare requests by.
func digest(op string, canonical []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", op)
	h.Write(canonical)
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
