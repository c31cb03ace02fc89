package capability

import (
	"regexp"
	"strings"
)

const redacted = "[redacted]"

// redactObject removes from an object what neither a guest nor the journal may hold, in place: data of Secrets, literal environment
// values of containers, issued tokens, and managed fields, which nobody asked for.
func redactObject(o map[string]any) map[string]any {
	meta, _ := o["metadata"].(map[string]any)
	delete(meta, "managedFields")
	kind, _ := o["kind"].(string)
	version, _ := o["apiVersion"].(string)
	switch {
	case kind == "Secret" && version == "v1":
		redactSecret(o, meta)
	case kind == "TokenRequest":
		if status, ok := o["status"].(map[string]any); ok && status["token"] != nil {
			status["token"] = redacted
		}
	case strings.HasSuffix(kind, "List"):
		items, _ := o["items"].([]any)
		for _, i := range items {
			if m, ok := i.(map[string]any); ok {
				redactObject(m)
			}
		}
	default:
		redactEnv(o["spec"], 0)
	}
	return o
}

// bearer finds what is a credential by its form wherever it stands: JSON web tokens, as ServiceAccounts have them, and private keys.
var bearer = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----[A-Za-z0-9+/=\s]*(-----END [A-Z ]*PRIVATE KEY-----)?`)

// redactText removes credentials from text that a container wrote.
func redactText(s string) string { return bearer.ReplaceAllString(s, redacted) }

func redactSecret(o, meta map[string]any) {
	for _, key := range []string{"data", "stringData"} {
		values, _ := o[key].(map[string]any)
		for k := range values {
			values[k] = redacted
		}
	}
	if a, ok := meta["annotations"].(map[string]any); ok {
		delete(a, "kubectl.kubernetes.io/last-applied-configuration") // holds the data once more
	}
}

// redactEnv walks down to pod specs wherever they are (a Deployment's is spec.template.spec) and blanks literal values of env.
func redactEnv(v any, depth int) {
	if depth > 8 {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			if k == "containers" || k == "initContainers" || k == "ephemeralContainers" {
				redactContainers(child)
				continue
			}
			redactEnv(child, depth+1)
		}
	case []any:
		for _, child := range v {
			redactEnv(child, depth+1)
		}
	}
}

func redactContainers(v any) {
	list, _ := v.([]any)
	for _, c := range list {
		container, _ := c.(map[string]any)
		env, _ := container["env"].([]any)
		for _, e := range env {
			if m, ok := e.(map[string]any); ok && m["value"] != nil && m["value"] != "" {
				m["value"] = redacted
			}
		}
	}
}
