package abi

// HTTPRequest is the request of http. The URL, with secrets filled in, must begin with one of the grant's URLs (same scheme, host
// and port, path on a segment boundary). Redirects are followed only to granted URLs. Handles of secrets are filled in in URL and header
// values, never in the body: an event's text that happens to be a handle must not become the secret.
type HTTPRequest struct {
	Method  string            `json:"method"` // GET, HEAD, POST, PUT, PATCH or DELETE
	URL     string            `json:"url"`    // absolute, http or https, no user info; or a handle alone
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
}

// HTTPResponse is the response of http, for any status the server gave. Only content-type, retry-after and location of its headers are
// passed on, by lower-case name.
type HTTPResponse struct {
	Status    int               `json:"status"`
	Headers   map[string]string `json:"headers,omitempty"`
	Body      string            `json:"body,omitempty"`      // invalid UTF-8 replaced; at most 1 MiB
	Truncated bool              `json:"truncated,omitempty"` // of the body
	DryRun    bool              `json:"dryRun,omitempty"`    // not sent; Status is 200
}

// SecretRequest is the request of secret. The function's document must list the secret.
type SecretRequest struct {
	Name string `json:"name"`
	Key  string `json:"key,omitempty"` // of a Kubernetes Secret with several; default: the only one
}

// SecretResponse is the response of secret. The handle consists of letters, digits and "-", stands for the value in http's URL
// and headers within this invocation, and says nothing about it. It is the same each time within one invocation.
type SecretResponse struct {
	Handle string `json:"handle"`
}
