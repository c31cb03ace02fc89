package function

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/rules/spell"
	"github.com/tiercel-project/tiercel/runtime/capability"
)

var (
	dnsLabel     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	dnsSubdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	digestRef    = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// Priorities is Falco's priorities, the most severe first, as they stand in subjects.
var Priorities = []string{"emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"}

// validate checks what needs nothing but the document.
func (d *Document) validate() error {
	var errs []error
	add := func(path string, err error) {
		if err != nil {
			errs = append(errs, d.problem(path, "", err))
		}
	}
	if d.APIVersion != APIVersion {
		add("apiVersion", fmt.Errorf("%q is not %s", d.APIVersion, APIVersion))
	}
	if d.Kind != Kind {
		add("kind", fmt.Errorf("%q is not %s", d.Kind, Kind))
	}
	add("metadata.name", checkName(d.Metadata.Name))
	if !dnsLabel.MatchString(d.Metadata.Namespace) {
		add("metadata.namespace", fmt.Errorf("%q is no DNS label", d.Metadata.Namespace))
	}
	s := &d.Spec
	add("spec.module", checkModule(s.Module))
	errs = append(errs, d.validateMode(), d.validateLimits(), d.validateGrants(), d.validateGuard())
	if len(s.Triggers) == 0 {
		add("spec.triggers", errors.New("is empty: the function would never run"))
	}
	for i := range s.Triggers {
		errs = append(errs, d.validateTrigger("spec.triggers["+strconv.Itoa(i)+"]", &s.Triggers[i]))
	}
	return errors.Join(errs...)
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("is missing")
	case len(name) > 100:
		return errors.New("is longer than 100 bytes")
	case !dnsSubdomain.MatchString(name):
		return fmt.Errorf("%q is no DNS name of lower-case letters, digits, dots and hyphens", name)
	}
	return nil
}

func checkModule(ref string) error {
	kind, rest, ok := strings.Cut(ref, ":")
	switch {
	case ref == "":
		return errors.New("is missing")
	case kind == "oci":
		return errors.New("modules from registries are not supported yet, use a file or the digest of a stored module")
	case kind == "sha256" && !digestRef.MatchString(ref):
		return fmt.Errorf("%q is no digest: sha256: and 64 hexadecimal digits", ref)
	case ok && rest != "" && (kind == "builtin" || kind == "file" || kind == "sha256"):
		return nil
	}
	return fmt.Errorf("%q is none of builtin:NAME, file:PATH, sha256:DIGEST", ref)
}

func (d *Document) validateMode() error {
	if d.Spec.Mode == "approve" {
		return d.problem("spec.mode", "", errors.New("approve is not supported yet: use dryRun to see the plan, enforce to act"))
	}
	if d.Spec.Reenter {
		return d.problem("spec.reenter", "", errors.New("true is not supported yet: what functions do triggers no functions, so no event comes back to one"))
	}
	return errors.Join(
		d.oneOf("spec.mode", string(d.Spec.Mode), string(capability.DryRun), string(capability.Enforce)),
		d.oneOf("spec.onLag", d.Spec.OnLag, "skip"),
	)
}

func (d *Document) validateLimits() error {
	var errs []error
	bound := func(path string, ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, d.problem(path, "", fmt.Errorf(format, args...)))
		}
	}
	l, r := d.Spec.Limits, d.Spec.Retry
	bound("spec.limits.timeout", l.Timeout.Std() >= time.Millisecond && l.Timeout.Std() <= abi.MaxTimeout, "%s is not within 1ms and %s", l.Timeout, Duration(abi.MaxTimeout))
	bound("spec.limits.memory", l.Memory >= 64<<10 && l.Memory <= abi.MaxMemory, "%s is not within 64Ki and %s", l.Memory, Size(abi.MaxMemory))
	bound("spec.limits.concurrency", l.Concurrency >= 1 && l.Concurrency <= MaxConcurrency, "%d is not within 1 and %d", l.Concurrency, MaxConcurrency)
	bound("spec.limits.fuel", l.Fuel >= 0, "%d is negative", l.Fuel)
	bound("spec.limits.output", l.Output == 0 || l.Output >= 1<<10 && l.Output <= abi.MaxOutput, "%s is not within 1Ki and %s", l.Output, Size(abi.MaxOutput))
	bound("spec.limits.log", l.Log == 0 || l.Log >= 1<<10 && l.Log <= abi.MaxLog, "%s is not within 1Ki and %s", l.Log, Size(abi.MaxLog))
	bound("spec.limits.calls", l.Calls >= 0 && l.Calls <= abi.MaxCalls, "%d is not within 1 and %d", l.Calls, abi.MaxCalls)
	bound("spec.retry.attempts", r.Attempts >= 0 && r.Attempts <= 100, "%d is not within 0 and 100", r.Attempts)
	bound("spec.retry.backoff", r.Backoff > 0 && r.Backoff.Std() <= MaxBackoff, "%s is not within 1ns and %s", r.Backoff, Duration(MaxBackoff))
	if rv := d.Spec.Revert; rv != nil {
		bound("spec.revert.after", rv.After.Std() >= time.Second, "%s is below 1s", rv.After)
	}
	return errors.Join(errs...)
}

var verbs = []string{"get", "list", "create", "patch", "delete", "*"}

func (d *Document) validateGrants() error {
	var errs []error
	g := d.Spec.Grants
	errs = append(errs,
		d.oneOf("spec.grants.reach", string(g.Reach), string(capability.ReachTarget), string(capability.ReachNamespace), string(capability.ReachCluster)),
		d.oneOf("spec.grants.onUnknown", g.OnUnknown, OnUnknownGiveUp, OnUnknownRepeat))
	for i, k := range g.Kubernetes {
		p := "spec.grants.kubernetes[" + strconv.Itoa(i) + "]"
		for _, part := range []struct {
			key string
			val []string
		}{{"apiGroups", k.APIGroups}, {"resources", k.Resources}, {"verbs", k.Verbs}} {
			if len(part.val) == 0 {
				errs = append(errs, d.problem(p+"."+part.key, "", errors.New("is missing")))
			}
		}
		for j, v := range k.Verbs {
			errs = append(errs, d.oneOf(p+".verbs["+strconv.Itoa(j)+"]", v, verbs...))
			if v == "list" && len(k.ResourceNames) > 0 {
				errs = append(errs, d.problem(p+".verbs["+strconv.Itoa(j)+"]", "", errors.New("list names no object, so resourceNames never covers it: grant it in an entry of its own")))
			}
		}
	}
	for i, e := range g.Exec {
		if key, err := e.Check(); err != nil {
			errs = append(errs, d.problem("spec.grants.exec["+strconv.Itoa(i)+"]"+key, "", err))
		}
	}
	for i := range g.Node {
		errs = append(errs, d.problem("spec.grants.node["+strconv.Itoa(i)+"]", "", errors.New("node operations are not supported yet: no function can ask for one")))
	}
	for i, name := range d.Spec.Secrets {
		errs = append(errs, d.secretName("spec.secrets["+strconv.Itoa(i)+"]", name))
	}
	for i, name := range g.Secrets {
		errs = append(errs, d.secretName("spec.grants.secrets["+strconv.Itoa(i)+"]", name))
	}
	for i, u := range g.HTTP {
		if err := capability.CheckURLGrant(u); err != nil {
			errs = append(errs, d.problem("spec.grants.http["+strconv.Itoa(i)+"]", "", err))
		}
	}
	return errors.Join(errs...)
}

func (d *Document) secretName(at, name string) error {
	if err := capability.CheckSecretName(name); err != nil {
		return d.problem(at, "", err)
	}
	return nil
}

func (d *Document) validateGuard() error {
	var errs []error
	s := &d.Spec
	if s.Dedup != nil {
		if len(s.Dedup.Key) == 0 {
			errs = append(errs, d.problem("spec.dedup.key", "", errors.New("is empty")))
		}
		if s.Dedup.Window.Std() < time.Second {
			errs = append(errs, d.problem("spec.dedup.window", "", fmt.Errorf("%s is below 1s", s.Dedup.Window)))
		}
	}
	if b := s.Budget; b != nil {
		if b.Max < 1 || b.Max > 10_000 {
			errs = append(errs, d.problem("spec.budget.max", "", fmt.Errorf("%d is not within 1 and 10000", b.Max)))
		}
		if b.Per.Std() < time.Second {
			errs = append(errs, d.problem("spec.budget.per", "", fmt.Errorf("%s is below 1s", b.Per)))
		}
		if b.Over == "approve" {
			errs = append(errs, d.problem("spec.budget.over", "", errors.New("approve is not supported yet: use drop")))
		} else {
			errs = append(errs, d.oneOf("spec.budget.over", b.Over, "drop"))
		}
		errs = append(errs, d.oneOf("spec.budget.scope", b.Scope, "function", "namespace", "node", "rule"))
	}
	return errors.Join(errs...)
}

func (d *Document) validateTrigger(at string, t *Trigger) error {
	var errs []error
	globs := func(key string, list []string) {
		for i, g := range list {
			if _, err := path.Match(glob(g), ""); err != nil || g == "" {
				errs = append(errs, d.problem(at+"."+key+"["+strconv.Itoa(i)+"]", "", fmt.Errorf("%q is no name and no pattern of names", g)))
			}
		}
	}
	globs("rules", t.Rules)
	if t.Namespaces != nil {
		globs("namespaces.include", t.Namespaces.Include)
		globs("namespaces.exclude", t.Namespaces.Exclude)
	}
	if t.Priority != "" && priorityRank(t.Priority) < 0 {
		errs = append(errs, d.problem(at+".priority", spell.Nearest(t.Priority, Priorities), fmt.Errorf("%q is no priority", t.Priority)))
	}
	if t.Condition != "" {
		if _, err := compileCondition(t.Condition); err != nil {
			errs = append(errs, d.problem(at+".condition", "", err))
		}
	}
	return errors.Join(errs...)
}

// priorityRank is the place of a priority in Priorities, or -1. Falco's "info" counts as informational.
func priorityRank(p string) int {
	p = strings.ToLower(p)
	if p == "info" {
		p = "informational"
	}
	for i, name := range Priorities {
		if name == p {
			return i
		}
	}
	return -1
}

// glob turns a pattern of names, in which * and ? are the only wildcards, into one of package path: everything else is literal.
func glob(p string) string {
	return strings.NewReplacer(`\`, `\\`, `[`, `\[`, `/`, "\x00").Replace(p)
}

func matchGlob(pattern, name string) bool {
	ok, _ := path.Match(pattern, strings.ReplaceAll(name, "/", "\x00"))
	return ok
}
