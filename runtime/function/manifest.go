package function

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
	"github.com/tiercel-project/tiercel/rules/spell"
	"github.com/tiercel-project/tiercel/runtime/capability"
)

// Check holds the document against the manifest of its module: every need that is not optional is granted, nothing is granted that is
// not needed, the configuration fits the schema, whose defaults it takes over, and what it names (commands, URLs, secrets) is granted.
// Problems are *PosError, joined.
func (d *Document) Check(m abi.Manifest) error {
	var errs []error
	errs = append(errs, d.checkNeeds(m)...)
	errs = append(errs, d.checkGrants(m)...)
	config, err := manifest.ApplyConfig(m.Config, d.Spec.Config)
	for _, err := range joined(err) {
		path := "spec.config"
		if ce, ok := errors.AsType[*manifest.ConfigError](err); ok {
			path, err = "spec."+ce.Path, errors.New(ce.Text)
		}
		errs = append(errs, d.problem(path, "", err))
	}
	if err == nil {
		errs = append(errs, d.checkUses(m, config)...)
	}
	if len(errs) != 0 {
		return errors.Join(errs...)
	}
	d.Spec.Config = config
	return nil
}

// joined returns the errors that errors.Join put together.
func joined(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
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
	if m.Needs.Exec && len(g.Exec) == 0 {
		missing("spec.grants.exec", "exec")
	}
	if m.Needs.HTTP && len(g.HTTP) == 0 {
		missing("spec.grants.http", "http")
	}
	if m.Needs.KV && !g.KV {
		missing("spec.grants.kv", "kv")
	}
	if m.Needs.Artifacts && !g.Artifacts {
		missing("spec.grants.artifacts", "artifacts")
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
	if !m.Needs.Exec && len(g.Exec) != 0 {
		surplus("spec.grants.exec", "exec")
	}
	if !m.Needs.HTTP && len(g.HTTP) != 0 {
		surplus("spec.grants.http", "http")
	}
	if !m.Needs.KV && g.KV {
		surplus("spec.grants.kv", "kv")
	}
	if !m.Needs.Artifacts && g.Artifacts {
		surplus("spec.grants.artifacts", "artifacts")
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

// checkUses reports what the configuration names and the document does not grant. A grant that is missing altogether is checkNeeds' to tell.
func (d *Document) checkUses(m abi.Manifest, config []byte) (errs []error) {
	uses, err := manifest.Uses(m.Config, config)
	if err != nil {
		return []error{d.problem("spec.config", "", err)}
	}
	container := ""
	for _, u := range uses {
		if u.Grant == abi.GrantContainer {
			container = u.Words[0]
		}
	}
	g := d.Spec.Grants
	for _, u := range uses {
		near, err := "", error(nil)
		switch {
		case u.Grant == abi.GrantCommand && len(g.Exec) > 0:
			err = g.CoversCommand(u.Words, container)
		case u.Grant == abi.GrantURL && len(g.HTTP) > 0:
			err = g.CoversURL(u.Words[0])
		case u.Grant == abi.GrantSecret:
			if all := slices.Concat(d.Spec.Secrets, g.Secrets); !slices.Contains(all, u.Words[0]) {
				near = spell.Nearest(u.Words[0], all)
				err = fmt.Errorf("secret %q is not granted: list it in spec.secrets", u.Words[0])
			}
		}
		if err != nil {
			errs = append(errs, d.problem("spec."+u.Path, near, err))
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
