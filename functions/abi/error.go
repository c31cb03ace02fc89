package abi

// A Code says what kind of error an operation answered with.
type Code string

// Codes of errors. The set is closed: a guest may switch over it.
const (
	CodeInvalid     Code = "invalid"     // the request is malformed, or its target refused it as such
	CodeUnsupported Code = "unsupported" // no such operation, or not in this runtime (no cluster configured)
	CodeDenied      Code = "denied"      // the function's grants, reach or protection do not allow it
	CodeForbidden   Code = "forbidden"   // the API server refused it to the function's credentials (RBAC, admission)
	CodeNotFound    Code = "not_found"   // there is no such object, key or secret
	CodeExists      Code = "exists"      // create: an object of that name exists, made by someone else
	CodeConflict    Code = "conflict"    // a precondition (UID, resourceVersion, revision) does not hold
	CodeTooLarge    Code = "too_large"   // the request or the response is above its limit
	CodeTimeout     Code = "timeout"     // no answer within the operation's timeout; what happened is unknown
	CodeUnavailable Code = "unavailable" // the target cannot be reached
	CodeInternal    Code = "internal"    // the runtime's own fault
)

// An Error is the response of a call with status [CallError]. Transient failures of the target are not answers: the host tries again
// or suspends the invocation, so an Error with Retry is one that a fresh attempt from live state could turn out otherwise.
type Error struct {
	Code  Code   `json:"code"`
	Text  string `json:"text"`            // for people; at most MaxText bytes
	Retry bool   `json:"retry,omitempty"` // whether trying again can help
}

func (e *Error) Error() string {
	if e.Text == "" {
		return string(e.Code)
	}
	return e.Text
}

// NewError returns an Error that trying again does not help.
func NewError(code Code, text string) *Error { return &Error{Code: code, Text: text} }
