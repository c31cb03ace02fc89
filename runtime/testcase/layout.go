package testcase

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// wide is how long a line of laid out JSON may be before it is spread over several.
const wide = 120

// block is an operation and its JSON: keys sorted, so that it does not depend on an SDK's order, and over several lines where one would be
// too long.
func block(op string, body []byte) string {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var tree any
	if op != "" {
		op += " "
	}
	if dec.Decode(&tree) != nil || dec.More() {
		return op + strings.ReplaceAll(string(body), "\n", " ") + "\n" // not JSON: shown as it is
	}
	return op + layout(tree, 0, len(op)) + "\n"
}

// layout is v as JSON whose first line begins at a column, and whose others are indented by as many levels.
func layout(v any, level, column int) string {
	line := flat(v)
	if column+len(line) <= wide {
		return line
	}
	var parts []string
	indent := strings.Repeat("  ", level+1)
	first, last := "[", "]"
	switch v := v.(type) {
	case map[string]any:
		first, last = "{", "}"
		for _, k := range slices.Sorted(maps.Keys(v)) {
			key := text(k) + ": "
			parts = append(parts, indent+key+layout(v[k], level+1, len(indent)+len(key)+1))
		}
	case []any:
		for _, e := range v {
			parts = append(parts, indent+layout(e, level+1, len(indent)+1))
		}
	}
	if len(parts) == 0 {
		return line
	}
	return first + "\n" + strings.Join(parts, ",\n") + "\n" + indent[2:] + last
}

// flat is v as JSON in one line.
func flat(v any) string {
	switch v := v.(type) {
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, text(k)+": "+flat(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		parts := make([]string, 0, len(v))
		for _, e := range v {
			parts = append(parts, flat(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return text(v)
}

// text is a value without others inside, with nothing escaped that need not be.
func text(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // it came from JSON
	return strings.TrimSuffix(b.String(), "\n")
}
