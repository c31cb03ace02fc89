package load

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// checkSchema notes where documents deviate from the schema of rules files: a check apart from loading, as in Falco, and stricter.
func (r *reader) checkSchema(docs []*yaml.Node) {
	s := &schema{}
	for _, doc := range docs {
		if len(doc.Content) == 0 {
			continue
		}
		if root := deref(doc.Content[0]); !isNull(root) {
			s.list(root, "", s.item)
		}
	}
	r.res.SchemaWarnings, r.res.schemaChecked = s.warnings, true
}

// A schema collects deviations.
type schema struct{ warnings []string }

func (s *schema) warn(n *yaml.Node, path, msg string) {
	s.warnings = append(s.warnings, fmt.Sprintf("line %d: %s: %s", n.Line, orRoot(path), msg))
}

func orRoot(path string) string {
	if path == "" {
		return "<root>"
	}
	return path
}

type checker func(n *yaml.Node, path string)

func (s *schema) list(n *yaml.Node, path string, check checker) {
	if n.Kind != yaml.SequenceNode {
		s.warn(n, path, "must be an array")
		return
	}
	for i, c := range n.Content {
		check(deref(c), path+"["+strconv.Itoa(i)+"]")
	}
}

// object checks a mapping: every key must be among props, and those in required must be there.
func (s *schema) object(n *yaml.Node, path string, props map[string]checker, required ...string) {
	if n.Kind != yaml.MappingNode {
		s.warn(n, path, "must be an object")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		check, ok := props[key]
		if !ok {
			s.warn(n.Content[i], path, fmt.Sprintf("unknown property %q", key))
			continue
		}
		check(deref(n.Content[i+1]), path+"."+key)
	}
	for _, key := range required {
		if k, _ := lookup(n, key); k == nil {
			s.warn(n, path, fmt.Sprintf("property %q is missing", key))
		}
	}
}

func (s *schema) any(*yaml.Node, string) {}

func (s *schema) str(n *yaml.Node, path string) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		s.warn(n, path, "must be a string")
	}
}

func (s *schema) boolean(n *yaml.Node, path string) {
	if n.Kind == yaml.ScalarNode {
		if _, ok := parseBool(n.Value); ok {
			return
		}
	}
	s.warn(n, path, "must be a boolean")
}

func (s *schema) integer(n *yaml.Node, path string) {
	if n.Kind == yaml.ScalarNode {
		if _, err := strconv.ParseInt(n.Value, 0, 64); err == nil {
			return
		}
	}
	s.warn(n, path, "must be an integer")
}

func (s *schema) strings(n *yaml.Node, path string) { s.list(n, path, s.str) }

func (s *schema) priority(n *yaml.Node, path string) {
	if _, err := ParsePriority(n.Value); err != nil {
		s.warn(n, path, "must be a priority")
	}
}

func (s *schema) override(n *yaml.Node, path string) {
	props := map[string]checker{"items": s.overridden}
	for _, key := range slices.Concat(ruleAppends, ruleReplaces, []string{"capture_events", "capture_filesize"}) {
		props[key] = s.overridden
	}
	s.object(n, path, props)
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		s.warn(n, path, "must have a property")
	}
}

func (s *schema) overridden(n *yaml.Node, path string) {
	if n.Value != "append" && n.Value != "replace" {
		s.warn(n, path, "must be append or replace")
	}
}

func (s *schema) exception(n *yaml.Node, path string) {
	s.object(n, path, map[string]checker{"name": s.str, "fields": s.any, "comps": s.any, "values": s.any}, "name")
}

func (s *schema) plugin(n *yaml.Node, path string) {
	s.object(n, path, map[string]checker{
		"name": s.str, "version": s.str,
		"alternatives": func(n *yaml.Node, path string) {
			s.list(n, path, func(n *yaml.Node, path string) {
				s.object(n, path, map[string]checker{"name": s.str, "version": s.str}, "name", "version")
			})
		},
	}, "name", "version")
}

// itemProps are the properties of items: the schema does not tell rules, macros and lists apart.
var itemProps = map[string]func(*schema, *yaml.Node, string){
	"required_engine_version": (*schema).str, "macro": (*schema).str, "condition": (*schema).str, "list": (*schema).str,
	"items": (*schema).strings, "rule": (*schema).str, "desc": (*schema).str, "enabled": (*schema).boolean, "output": (*schema).str,
	"append": (*schema).boolean, "priority": (*schema).priority, "capture": (*schema).boolean, "capture_duration": (*schema).integer,
	"capture_events": (*schema).integer, "capture_filesize": (*schema).integer, "source": (*schema).str, "override": (*schema).override,
	"tags": (*schema).strings, "warn_evttypes": (*schema).boolean, "skip-if-unknown-filter": (*schema).boolean,
	"exceptions": (*schema).exceptions, "required_plugin_versions": (*schema).plugins,
}

func (s *schema) exceptions(n *yaml.Node, path string) { s.list(n, path, s.exception) }

func (s *schema) plugins(n *yaml.Node, path string) { s.list(n, path, s.plugin) }

// item checks a rule, a macro, a list or a requirement.
func (s *schema) item(n *yaml.Node, path string) {
	switch {
	case isNull(n):
		return
	case n.Kind != yaml.MappingNode:
		s.warn(n, path, "must be an object")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		if check := itemProps[key]; check != nil {
			check(s, deref(n.Content[i+1]), path+"."+key)
		} else if !strings.HasPrefix(key, ownPrefix) {
			s.warn(n.Content[i], path, fmt.Sprintf("unknown property %q", key))
		}
	}
}
