package abi

// Names of the operations.
const (
	OpInvocation       = "invocation"
	OpConfig           = "config"
	OpOutcome          = "outcome"
	OpSecret           = "secret"
	OpKubernetesGet    = "kubernetes.get"
	OpKubernetesList   = "kubernetes.list"
	OpKubernetesCreate = "kubernetes.create"
	OpKubernetesPatch  = "kubernetes.patch"
	OpKubernetesDelete = "kubernetes.delete"
	OpExec             = "exec"
	OpHTTP             = "http"
	OpKVGet            = "kv.get"
	OpKVPut            = "kv.put"
	OpKVDelete         = "kv.delete"
	OpArtifactPut      = "artifact.put"
)

// A Class says what "once" means for an operation: what the runtime does after a crash between its intent and its result.
type Class string

// Classes of operations.
const (
	ClassLocal         Class = "local"         // answered by the sandbox itself, neither granted nor journaled
	ClassRead          Class = "read"          // changes nothing; its answer is journaled
	ClassConditional   Class = "conditional"   // carries a precondition or a name of its own: repeating it is safe
	ClassConvergent    Class = "convergent"    // done when the goal state holds
	ClassUnconditional Class = "unconditional" // repeated or reported unknown, as the grant's onUnknown says
)

// An Operation is one row of [Operations].
type Operation struct {
	Name     string
	Class    Class
	Request  string // the Go type of the request, in this package
	Response string // the Go type of the response
	Errors   []Code // beside invalid, unsupported, denied, too_large, timeout, unavailable and internal, which any but a local one may answer
}

// Operations is every operation of tiercel_v1. Local ones need no grant. Two operations are of a class that depends on the request:
// http is a read for GET and HEAD, and kubernetes.create of the subresource eviction is convergent.
//
// Reserved for later, and answered with [CodeUnsupported] until then: names that begin with "node.", and other names that begin with "artifact.".
var Operations = []Operation{
	{OpInvocation, ClassLocal, "Empty", "Invocation", nil},
	{OpConfig, ClassLocal, "Empty", "the function's configuration, {} if it has none", nil},
	{OpOutcome, ClassLocal, "Result", "Empty", nil},
	{OpSecret, ClassRead, "SecretRequest", "SecretResponse", []Code{CodeNotFound}},
	{OpKubernetesGet, ClassRead, "KubernetesGet", "KubernetesObject or KubernetesLog", []Code{CodeForbidden, CodeNotFound}},
	{OpKubernetesList, ClassRead, "KubernetesList", "KubernetesItems", []Code{CodeForbidden}},
	{OpKubernetesCreate, ClassConditional, "KubernetesCreate", "KubernetesObject", []Code{CodeForbidden, CodeNotFound, CodeExists, CodeConflict}},
	{OpKubernetesPatch, ClassConditional, "KubernetesPatch", "KubernetesObject", []Code{CodeForbidden, CodeNotFound, CodeConflict}},
	{OpKubernetesDelete, ClassConvergent, "KubernetesDelete", "KubernetesDeleted", []Code{CodeForbidden, CodeNotFound, CodeConflict}},
	{OpExec, ClassUnconditional, "ExecRequest", "ExecResponse", []Code{CodeForbidden, CodeNotFound}},
	{OpHTTP, ClassUnconditional, "HTTPRequest", "HTTPResponse", nil},
	{OpKVGet, ClassRead, "KVGet", "KVEntry", nil},
	{OpKVPut, ClassConditional, "KVPut", "KVRevision", []Code{CodeConflict}},
	{OpKVDelete, ClassConvergent, "KVDelete", "Empty", []Code{CodeConflict}},
	{OpArtifactPut, ClassConditional, "ArtifactPut", "Artifact", nil},
}

// Lookup returns the operation of that name.
func Lookup(name string) (Operation, bool) {
	for _, op := range Operations {
		if op.Name == name {
			return op, true
		}
	}
	return Operation{}, false
}

// Empty is the request or response without content: {}. An empty request body counts as {}.
type Empty struct{}

// An Invocation is the response of invocation: who is being run. It says neither mode nor attempt, so that a rehearsal is faithful.
type Invocation struct {
	ID       string `json:"id"`
	Function string `json:"function"` // the function's name
}
