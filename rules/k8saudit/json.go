package k8saudit

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// get returns what is at the end of keys.
func (e *Event) get(keys ...string) (any, bool) { return dig(e.tree, keys...) }

// dig follows keys from v through objects.
func dig(v any, keys ...string) (any, bool) {
	for _, k := range keys {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[k]; !ok {
			return nil, false
		}
	}
	return v, true
}

// str returns the scalar at the end of keys as text.
func (e *Event) str(keys ...string) (string, bool) {
	v, ok := e.get(keys...)
	if !ok {
		return "", false
	}
	return scalar(v)
}

// scalar returns a JSON scalar as text: strings without quotes.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	case nil:
		return "null", true
	}
	return "", false
}

// list returns the array at the end of keys.
func (e *Event) list(keys ...string) ([]any, bool) {
	v, ok := e.get(keys...)
	if !ok {
		return nil, false
	}
	a, ok := v.([]any)
	return a, ok
}

// rawAt returns the text of what is at the end of path, without blanks but in the order it was written; path has keys of objects and
// indexes of arrays.
func (e *Event) rawAt(path []string) (string, bool) {
	raw := e.raw
	for _, step := range path {
		raw = bytes.TrimLeft(raw, " \t\r\n")
		if len(raw) == 0 {
			return "", false
		}
		if raw[0] == '[' {
			var items []json.RawMessage
			i, err := strconv.Atoi(step)
			if err != nil || json.Unmarshal(raw, &items) != nil || i < 0 || i >= len(items) {
				return "", false
			}
			raw = items[i]
			continue
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil {
			return "", false
		}
		m, ok := members[step]
		if !ok {
			return "", false
		}
		raw = m
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return "", false
	}
	return b.String(), true
}

// text returns v, found at path, as text: scalars without quotes, all else as JSON.
func (e *Event) text(v any, path ...string) (string, bool) {
	if s, ok := scalar(v); ok {
		return s, true
	}
	return e.rawAt(path)
}

// unescapePointer resolves ~1 and ~0 in a step of a JSON pointer.
func unescapePointer(step string) string {
	if strings.IndexByte(step, '~') < 0 {
		return step
	}
	return strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
}

// pointer returns what the JSON pointer p (RFC 6901) points to, as text. As with Falco's plugin the first slash may be missing.
func (e *Event) pointer(p string) (string, bool) {
	p = strings.TrimPrefix(p, "/")
	var v any = e.tree
	for rest, more := p, p != ""; more; {
		var step string
		step, rest, more = strings.Cut(rest, "/")
		switch c := v.(type) {
		case map[string]any:
			next, ok := c[unescapePointer(step)]
			if !ok {
				return "", false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(c) {
				return "", false
			}
			v = c[i]
		default:
			return "", false
		}
	}
	if s, ok := scalar(v); ok {
		return s, true
	}
	var steps []string
	if p != "" {
		steps = strings.Split(p, "/")
		for i := range steps {
			steps[i] = unescapePointer(steps[i])
		}
	}
	return e.rawAt(steps)
}
