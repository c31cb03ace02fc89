package load

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tiercel-project/tiercel/rules/spell"
)

// A decoder reads the keys of one mapping. Its first error sticks: later calls do nothing.
type decoder struct {
	src *source
	n   *yaml.Node
	sc  *scope
	err *Problem
}

// deref follows an alias.
func deref(n *yaml.Node) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.AliasNode && i < 100; i++ {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// lookup returns the key and the value of a mapping's entry; nil if it has none. Of a repeated key the first counts.
func lookup(n *yaml.Node, key string) (k, v *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Value == key {
			return n.Content[i], deref(n.Content[i+1])
		}
	}
	return nil, nil
}

func (d *decoder) has(key string) bool {
	k, _ := lookup(d.n, key)
	return k != nil
}

func (d *decoder) fail(p *Problem) {
	if d.err == nil {
		d.err = p
	}
}

func (d *decoder) failHere(code Code, msg string) { d.fail(d.sc.here(code, msg, "")) }

// scalar returns the value of key as Falco demands it: there, no null, a scalar, not empty. It returns nil otherwise.
func (d *decoder) scalar(key string, optional bool) *yaml.Node {
	if d.err != nil {
		return nil
	}
	k, v := lookup(d.n, key)
	switch {
	case v == nil && optional:
		return nil
	case v == nil:
		d.fail(d.sc.here(ErrYAMLValidate, fmt.Sprintf("Item has no mapping for key '%s'", key), d.nearKey(key)))
	case isNull(v):
		d.fail(d.sc.problem(ErrYAMLValidate, d.src.place(k), len(key), fmt.Sprintf("Mapping for key '%s' is empty", key), ""))
	case v.Kind != yaml.ScalarNode:
		d.failValue(key, v, "Value is not a scalar value")
	case v.Value == "":
		d.failValue(key, v, "Value must be non-empty")
	default:
		return v
	}
	return nil
}

// nearKey hints at a key that was probably meant to be the one that is missing.
func (d *decoder) nearKey(key string) string {
	var keys []string
	for i := 0; i+1 < len(d.n.Content); i += 2 {
		if !knownKeys[d.n.Content[i].Value] {
			keys = append(keys, d.n.Content[i].Value)
		}
	}
	if near := spell.Nearest(key, keys); near != "" {
		return fmt.Sprintf("is %q meant to be %q?", near, key)
	}
	return ""
}

func (d *decoder) failValue(key string, v *yaml.Node, msg string) {
	d.fail(d.sc.in(d.src, v, "value for", key).here(ErrYAMLValidate, msg, ""))
}

// text returns the value of key.
func (d *decoder) text(key string) text {
	if v := d.scalar(key, false); v != nil {
		return d.src.scalar(v)
	}
	return text{}
}

// str returns the value of key.
func (d *decoder) str(key string) string {
	if v := d.scalar(key, false); v != nil {
		return v.Value
	}
	return ""
}

// boolean stores the value of key; whatever YAML 1.1 takes for a truth value will do.
func (d *decoder) boolean(key string, optional bool, into *bool) {
	v := d.scalar(key, optional)
	if v == nil {
		return
	}
	b, ok := parseBool(v.Value)
	if !ok {
		d.failValue(key, v, "Can't decode YAML scalar value")
		return
	}
	*into = b
}

// parseBool reads the words of YAML 1.1 in lower case, upper case or with a capital.
func parseBool(s string) (value, ok bool) {
	if len(s) > 0 && s != strings.ToLower(s) && s != strings.ToUpper(s) && s != strings.ToUpper(s[:1])+strings.ToLower(s[1:]) {
		return false, false
	}
	switch strings.ToLower(s) {
	case "y", "yes", "true", "on":
		return true, true
	case "n", "no", "false", "off":
		return false, true
	}
	return false, false
}

// number stores the value of key.
func (d *decoder) number(key string, optional bool, into *uint64) {
	v := d.scalar(key, optional)
	if v == nil {
		return
	}
	n, err := strconv.ParseUint(v.Value, 0, 32)
	if err != nil {
		d.failValue(key, v, "Can't decode YAML scalar value")
		return
	}
	*into = n
}

// sequence returns the scalars of the list under key.
func (d *decoder) sequence(key string, optional bool) []text {
	if d.err != nil {
		return nil
	}
	_, v := lookup(d.n, key)
	if v == nil {
		if !optional {
			d.fail(d.sc.here(ErrYAMLValidate, fmt.Sprintf("Item has no mapping for key '%s'", key), d.nearKey(key)))
		}
		return nil
	}
	sc := d.sc.in(d.src, v, "value for", key)
	if v.Kind != yaml.SequenceNode {
		d.fail(sc.here(ErrYAMLValidate, "Value is not a sequence", ""))
		return nil
	}
	items := make([]text, 0, len(v.Content))
	for _, item := range v.Content {
		item = deref(item)
		if item.Kind != yaml.ScalarNode || isNull(item) {
			d.fail(sc.in(d.src, item, "list item", "").here(ErrYAMLValidate, "sequence value is not scalar", ""))
			return nil
		}
		items = append(items, d.src.scalar(item))
	}
	return items
}
