package abi

// Bounds of exec.
const (
	MaxExecCommand = 8 << 10   // bytes of the command's words together, of which there are at most 64
	MaxExecOutput  = 256 << 10 // bytes of standard output and of standard error each that are passed on: the first
)

// ExecRequest is the request of exec: a command in a running container of a pod, without a shell and without input. The command must be, word
// for word, one that the grant lists; nothing of the event goes into it. UID is required: nothing is run in a pod known by its name
// alone. The API has no such precondition for it, so the pod is read right before.
type ExecRequest struct {
	Namespace string   `json:"namespace,omitempty"` // default: the event's
	Pod       string   `json:"pod"`
	UID       string   `json:"uid"`
	Container string   `json:"container,omitempty"` // default: the only one
	Command   []string `json:"command"`
}

// ExecResponse is the response of exec, whatever the command's exit code. A command that has not ended in the grant's time is
// CodeTimeout: it may go on.
type ExecResponse struct {
	ExitCode  int32  `json:"exitCode"`
	Stdout    string `json:"stdout,omitempty"` // invalid UTF-8 replaced
	Stderr    string `json:"stderr,omitempty"`
	Truncated bool   `json:"truncated,omitempty"` // of either
	DryRun    bool   `json:"dryRun,omitempty"`    // not run; ExitCode is 0
}
