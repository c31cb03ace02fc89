package function

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/capability"
)

// Check holds the document against the manifest of its module: every need that is not optional is granted, nothing is granted that is
// not needed, and the configuration fits the schema, whose defaults it takes over. Problems are *PosError, joined.
func (d *Document) Check(m abi.Manifest) error {
	var errs []error
	errs = append(errs, d.checkNeeds(m)...)
	errs = append(errs, d.checkGrants(m)...)
	if m.Config == nil {
		if c := string(d.Spec.Config); c != "" && c != "{}" && c != "null" {
			errs = append(errs, d.problem("spec.config", "", fmt.Errorf("module %q takes no configuration", m.Name)))
		}
		return errors.Join(errs...)
	}
	var v any
	if len(d.Spec.Config) == 0 {
		v = map[string]any{}
	} else if err := json.Unmarshal(d.Spec.Config, &v); err != nil {
		return errors.Join(append(errs, d.problem("spec.config", "", err))...)
	}
	v = d.checkValue("spec.config", v, m.Config, &errs)
	if len(errs) != 0 {
		return errors.Join(errs...)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return d.problem("spec.config", "", err)
	}
	if len(b) > abi.MaxConfig {
		return d.problem("spec.config", "", fmt.Errorf("is larger than %d bytes", abi.MaxConfig))
	}
	d.Spec.Config = b
	return nil
}

// checkNeeds reports what the module needs and the document does not grant.
func (d *Document) checkNeeds(m abi.Manifest) (errs []error) {
	g := d.Spec.Grants
	missing := func(path, format string, args ...any) {
		errs = append(errs, d.problem(path, "", fmt.Errorf("module %q needs "+format+", which is not granted", append([]any{m.Name}, args...)...)))
	}
	for _, n := range m.Needs.Kubernetes {
		if n.Optional {
			continue
		}
		eachVerb(n.APIGroups, n.Resources, n.Verbs, func(group, resource, verb string) {
			if !slices.ContainsFunc(g.Kubernetes, func(k capability.KubernetesGrant) bool {
				return grants(k.APIGroups, k.Resources, k.Verbs, group, resource, verb)
			}) {
				missing("spec.grants.kubernetes", "%s %s", verb, groupResource(group, resource))
			}
		})
	}
	if m.Needs.HTTP && len(g.HTTP) == 0 {
		missing("spec.grants.http", "http")
	}
	if m.Needs.KV && !g.KV {
		missing("spec.grants.kv", "kv")
	}
	if m.Needs.Secrets && len(g.Secrets) == 0 && len(d.Spec.Secrets) == 0 {
		missing("spec.secrets", "a secret")
	}
	for _, op := range m.Needs.Node {
		if !slices.Contains(g.Node, op) {
			missing("spec.grants.node", "node operation %s", op)
		}
	}
	return errs
}

// checkGrants reports what the document grants and the module does not need.
func (d *Document) checkGrants(m abi.Manifest) (errs []error) {
	g := d.Spec.Grants
	surplus := func(path, format string, args ...any) {
		errs = append(errs, d.problem(path, "", fmt.Errorf("grants "+format+", which module %q does not need", append(args, m.Name)...)))
	}
	for i, k := range g.Kubernetes {
		path := "spec.grants.kubernetes[" + strconv.Itoa(i) + "]"
		eachVerb(k.APIGroups, k.Resources, k.Verbs, func(group, resource, verb string) {
			if !slices.ContainsFunc(m.Needs.Kubernetes, func(n abi.KubernetesNeed) bool {
				return grants(n.APIGroups, n.Resources, n.Verbs, group, resource, verb)
			}) {
				surplus(path, "%s %s", verb, groupResource(group, resource))
			}
		})
	}
	if !m.Needs.HTTP && len(g.HTTP) != 0 {
		surplus("spec.grants.http", "http")
	}
	if !m.Needs.KV && g.KV {
		surplus("spec.grants.kv", "kv")
	}
	if !m.Needs.Secrets && len(g.Secrets) != 0 {
		surplus("spec.grants.secrets", "secrets")
	}
	if !m.Needs.Secrets && len(d.Spec.Secrets) != 0 {
		surplus("spec.secrets", "secrets")
	}
	for i, op := range g.Node {
		if !slices.Contains(m.Needs.Node, op) {
			surplus("spec.grants.node["+strconv.Itoa(i)+"]", "node operation %s", op)
		}
	}
	return errs
}

func eachVerb(groups, resources, verbs []string, f func(group, resource, verb string)) {
	for _, g := range groups {
		for _, r := range resources {
			for _, v := range verbs {
				f(g, r, v)
			}
		}
	}
}

func grants(groups, resources, verbs []string, group, resource, verb string) bool {
	has := func(list []string, s string) bool { return slices.Contains(list, s) || slices.Contains(list, "*") }
	return has(groups, group) && has(resources, resource) && has(verbs, verb)
}

func groupResource(group, resource string) string {
	if group == "" {
		return resource
	}
	return resource + "." + group
}

// checkValue checks v against s, appends what is wrong to errs, and returns v with defaults filled in.
func (d *Document) checkValue(path string, v any, s *abi.Schema, errs *[]error) any {
	bad := func(p, near, format string, args ...any) {
		*errs = append(*errs, d.problem(p, near, fmt.Errorf(format, args...)))
	}
	switch x := v.(type) {
	case map[string]any:
		if s.Type != "object" {
			bad(path, "", "is a mapping where the schema has %s", s.Type)
			return v
		}
		d.checkObject(path, x, s, errs)
	case []any:
		if s.Type != "array" {
			bad(path, "", "is a list where the schema has %s", s.Type)
			return v
		}
		if s.MaxItems > 0 && len(x) > s.MaxItems {
			bad(path, "", "has %d items, at most %d are allowed", len(x), s.MaxItems)
		}
		for i := range x {
			if s.Items != nil {
				x[i] = d.checkValue(path+"["+strconv.Itoa(i)+"]", x[i], s.Items, errs)
			}
		}
	case string:
		if s.Type != "string" {
			bad(path, "", "is text where the schema has %s", s.Type)
			return v
		}
		if len(s.Enum) != 0 && !slices.Contains(s.Enum, x) {
			bad(path, nearest(x, s.Enum), "%q is none of %v", x, s.Enum)
		}
		if s.MaxLength > 0 && len(x) > s.MaxLength {
			bad(path, "", "is longer than %d bytes", s.MaxLength)
		}
		if s.Pattern != "" {
			if re, err := regexp.Compile(s.Pattern); err != nil || !re.MatchString(x) {
				bad(path, "", "%q does not match %s", x, s.Pattern)
			}
		}
	case float64:
		if s.Type != "number" && (s.Type != "integer" || x != math.Trunc(x)) {
			bad(path, "", "%v is a number where the schema has %s", x, s.Type)
		}
		if s.Minimum != nil && x < *s.Minimum || s.Maximum != nil && x > *s.Maximum {
			bad(path, "", "%v is out of range", x)
		}
	case bool:
		if s.Type != "boolean" {
			bad(path, "", "is a boolean where the schema has %s", s.Type)
		}
	default:
		bad(path, "", "is empty where the schema has %s", s.Type)
	}
	return v
}

func (d *Document) checkObject(path string, x map[string]any, s *abi.Schema, errs *[]error) {
	for _, k := range slices.Sorted(maps.Keys(x)) {
		p := join(path, k)
		switch {
		case s.Properties[k] != nil:
			x[k] = d.checkValue(p, x[k], s.Properties[k], errs)
		case s.Additional != nil:
			x[k] = d.checkValue(p, x[k], s.Additional, errs)
		default:
			*errs = append(*errs, d.problem(p, nearest(k, slices.Sorted(maps.Keys(s.Properties))), fmt.Errorf("the module's configuration has no %q", k)))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.Properties)) {
		if _, ok := x[k]; ok || len(s.Properties[k].Default) == 0 {
			continue
		}
		var def any
		if json.Unmarshal(s.Properties[k].Default, &def) == nil && def != nil {
			x[k] = def
		}
	}
	for _, k := range s.Required {
		if _, ok := x[k]; !ok {
			*errs = append(*errs, d.problem(path, "", fmt.Errorf("%q is missing: the module requires it", k)))
		}
	}
}
