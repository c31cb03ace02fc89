package load

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tiercel-project/tiercel/rules/spell"
)

// ownPrefix begins the keys that are ours and not Falco's.
const ownPrefix = "tiercel_"

// itemKeys are the keys of each kind of item; the first names the item.
var itemKeys = map[string][]string{
	"required_engine_version":  {"required_engine_version"},
	"required_plugin_versions": {"required_plugin_versions"},
	"list":                     {"list", "items", "override", "append"},
	"macro":                    {"macro", "condition", "override", "append"},
	"rule": {
		"rule", "condition", "output", "desc", "priority", "source", "enabled", "tags", "exceptions", "warn_evttypes",
		"skip-if-unknown-filter", "capture", "capture_duration", "capture_events", "capture_filesize", "override", "append",
	},
	"exception":   {"name", "fields", "comps", "values"},
	"plugin":      {"name", "version", "alternatives"},
	"alternative": {"name", "version"},
}

// itemKinds is the order in which the keys are looked for that say what an item is.
var itemKinds = []string{"required_engine_version", "required_plugin_versions", "list", "macro", "rule"}

// knownKeys are all keys of items.
var knownKeys = func() map[string]bool {
	m := map[string]bool{}
	for _, keys := range itemKeys {
		for _, k := range keys {
			m[k] = true
		}
	}
	return m
}()

// kindOf returns what item the mapping n is; empty if it is none.
func kindOf(n *yaml.Node) string {
	for _, kind := range itemKinds {
		if k, _ := lookup(n, kind); k != nil {
			return kind
		}
	}
	return ""
}

// checkKeys warns of the keys of d's mapping that the kind of item does not have, and of repeated ones.
func (r *reader) checkKeys(d *decoder, kind string) {
	known := itemKeys[kind]
	seen := map[string]bool{}
	for i := 0; i+1 < len(d.n.Content); i += 2 {
		key := d.n.Content[i]
		if seen[key.Value] {
			r.warnKey(d, key, fmt.Sprintf("Key '%s' is given twice, the first one counts", key.Value), "")
			continue
		}
		seen[key.Value] = true
		if slices.Contains(known, key.Value) || strings.HasPrefix(key.Value, ownPrefix) {
			continue
		}
		hint := ""
		if near := spell.Nearest(key.Value, known); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		r.warnKey(d, key, fmt.Sprintf("Unknown key '%s'", key.Value), hint)
	}
}

func (r *reader) warnKey(d *decoder, key *yaml.Node, msg, hint string) {
	r.warn(d.sc.problem(WarnUnknownKey, d.src.place(key), len(key.Value), msg, hint))
}
