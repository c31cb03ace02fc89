package load

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Keys of a rule that an override may name.
var (
	ruleAppends  = []string{"condition", "output", "desc", "tags", "exceptions"}
	ruleReplaces = []string{
		"condition", "output", "desc", "priority", "capture", "capture_duration", "tags", "exceptions", "enabled", "warn_evttypes",
		"skip-if-unknown-filter",
	}
)

func (r *reader) readRule(d *decoder) *Problem {
	name := d.named("rule")
	if d.err != nil {
		return d.err
	}
	r.checkKeys(d, "rule")
	appends := r.appendFlag(d)
	o := d.overrides(ruleAppends, ruleReplaces)
	if d.err == nil && appends && o.any() {
		d.failHere(ErrYAMLValidate, msgOverrideAppend)
	}
	var err *Problem
	switch {
	case d.err != nil:
		err = d.err
	case o.any():
		err = r.overrideRule(d, name, o)
	case appends:
		err = r.appendRule(d, name)
	case !d.has("condition") && !d.has("output") && !d.has("desc") && !d.has("priority"):
		err = r.enableRule(d, name)
	default:
		err = r.defineRule(d, name)
	}
	if err != nil {
		r.col.failed["rule "+name] = true
	}
	return err
}

// defineRule reads a rule in full.
func (r *reader) defineRule(d *decoder, name string) *Problem {
	u := &Rule{Name: name, Source: "syscall", Enabled: true, WarnEvttypes: true, sc: d.sc, condSc: d.sc, outSc: d.sc}
	u.File = r.src.name
	u.Line, u.Col = d.sc.at.lineCol()
	u.cond = d.text("condition")
	u.condSc = r.partScope(d, "condition", "rule condition")
	u.output = d.text("output")
	u.outSc = r.partScope(d, "output", "rule output")
	u.Desc = d.str("desc")
	u.Priority = d.priority()
	if src := d.source(); src != "" {
		u.Source = src
	}
	d.boolean("enabled", true, &u.Enabled)
	d.boolean("warn_evttypes", true, &u.WarnEvttypes)
	d.boolean("skip-if-unknown-filter", true, &u.SkipIfUnknownFilter)
	d.capture(u)
	u.Tags = d.tags()
	u.exceptions = r.readExceptions(d, false)
	if d.err != nil {
		return d.err
	}
	u.output = trimText(u.output)
	return r.col.defineRule(r, u)
}

// partScope returns the scope of the value of key, or d's own if there is none.
func (r *reader) partScope(d *decoder, key, itemType string) *scope {
	if _, v := lookup(d.n, key); v != nil {
		return d.sc.in(r.src, v, itemType, "")
	}
	return d.sc
}

// capture reads the keys that ask for a capture file, which are accepted and do nothing yet.
func (d *decoder) capture(u *Rule) {
	d.boolean("capture", true, &u.Capture)
	ms := uint64(u.CaptureDuration / time.Millisecond)
	d.number("capture_duration", true, &ms)
	u.CaptureDuration = time.Duration(ms) * time.Millisecond
}

// trimText returns t without blanks at its ends.
func trimText(t text) text {
	s := strings.TrimLeft(t.s, " \t\r\n\f\v")
	from := len(t.s) - len(s)
	var b textBuilder
	b.add(&t, from, from+len(strings.TrimRight(s, " \t\r\n\f\v")))
	return b.text()
}

// enableRule reads the old form that only enables or disables a rule.
func (r *reader) enableRule(d *decoder, name string) *Problem {
	var on bool
	d.boolean("enabled", false, &on)
	if d.err != nil {
		return d.err
	}
	r.warn(d.sc.here(WarnDeprecatedItem, msgEnabledDeprecated, ""))
	prev := r.col.rules[name]
	if prev == nil {
		return r.col.noRule(d.sc, name, msgNoRuleEnable)
	}
	prev.Enabled = on
	return nil
}

// An update is what an append or an override gives for a rule. What is nil is not given.
type update struct {
	cond, output, desc *text
	tags               []string
	exceptions         []*exception
	hasTags, hasExcs   bool
}

func (u *update) any() bool {
	return u.cond != nil || u.output != nil || u.desc != nil || u.hasTags || u.hasExcs
}

// appendRule reads the deprecated form of an append: only condition and exceptions count.
func (r *reader) appendRule(d *decoder, name string) *Problem {
	u := &update{}
	if d.has("condition") {
		t := d.text("condition")
		u.cond = &t
	}
	if d.has("exceptions") {
		u.hasExcs = true
		u.exceptions = r.readExceptions(d, true)
	}
	if d.err != nil {
		return d.err
	}
	prev := r.col.rules[name]
	if prev == nil {
		return r.col.noRule(d.sc, name, msgNoRuleAppend)
	}
	if err := r.sameSource(d, prev); err != nil {
		return err
	}
	return r.col.appendRule(r, d.sc, prev, u)
}

// source returns the value of the key source. It may be missing or empty: that is the default, or of an append, the rule's.
func (d *decoder) source() string {
	k, v := lookup(d.n, "source")
	if k == nil || isNull(v) || v.Kind == yaml.ScalarNode && v.Value == "" {
		return ""
	}
	return d.str("source")
}

// sameSource checks that the item gives no other source than the rule has that it appends to or overrides.
func (r *reader) sameSource(d *decoder, prev *Rule) *Problem {
	src := d.source()
	if d.err != nil || src == "" || src == prev.Source {
		return d.err
	}
	_, v := lookup(d.n, "source")
	return d.sc.problem(ErrValidate, r.src.place(v), len(src), msgOtherSource,
		fmt.Sprintf("it was defined for %s at %s:%d", prev.Source, prev.File, prev.Line))
}

// overrideRule reads an item whose key override says what to append and what to replace.
func (r *reader) overrideRule(d *decoder, name string, o overrides) *Problem {
	given := map[string]bool{}
	for _, key := range slices.Concat(ruleAppends, ruleReplaces) {
		if d.has(key) {
			given[key] = true
		}
	}
	prev := r.col.rules[name]
	if prev != nil {
		if err := r.sameSource(d, prev); err != nil {
			return err
		}
	}
	if len(o.append) > 0 {
		u := &update{}
		r.readUpdate(d, o.append, "append", given, u, nil)
		if d.err != nil {
			return d.err
		}
		if prev == nil {
			return r.col.noRule(d.sc, name, msgNoRuleAppend)
		}
		if err := r.col.appendRule(r, d.sc, prev, u); err != nil {
			return err
		}
	}
	if len(o.replace) > 0 {
		if prev == nil {
			prev = &Rule{} // errors of the item itself come first
		}
		next := *prev
		r.readUpdate(d, o.replace, "replace", given, &update{}, &next)
		if d.err != nil {
			return d.err
		}
		if r.col.rules[name] == nil {
			return r.col.noRule(d.sc, name, msgNoRuleReplace)
		}
		if err := r.col.replaceRule(r, prev, &next, slices.Contains(o.replace, "exceptions")); err != nil {
			return err
		}
	}
	for _, key := range slices.Concat(ruleReplaces, ruleAppends) {
		if given[key] {
			k, _ := lookup(d.n, key)
			return d.sc.in(r.src, k, "overrides", key).here(ErrYAMLValidate,
				fmt.Sprintf("Unexpected key '%s': no corresponding entry under 'override' is defined.", key),
				fmt.Sprintf("add '%s: replace' under override, or leave the key out", key))
		}
	}
	return nil
}

// readUpdate reads the values of keys into u or, where they replace, into next, and strikes them from given.
func (r *reader) readUpdate(d *decoder, keys []string, op string, given map[string]bool, u *update, next *Rule) {
	for _, key := range keys {
		if d.err != nil {
			return
		}
		if !given[key] {
			k, _ := lookup(d.n, "override")
			d.fail(d.sc.problem(ErrYAMLValidate, r.src.place(k), len("override"),
				fmt.Sprintf("An %s override for '%s' was specified but '%s' is not defined", op, key, key), ""))
			return
		}
		delete(given, key)
		if next != nil {
			r.readReplacement(d, key, next)
			continue
		}
		switch key {
		case "condition", "output", "desc":
			t := d.text(key)
			*map[string]**text{"condition": &u.cond, "output": &u.output, "desc": &u.desc}[key] = &t
		case "tags":
			u.tags, u.hasTags = d.tags(), true
		case "exceptions":
			u.exceptions, u.hasExcs = r.readExceptions(d, true), true
		}
	}
}

// readReplacement reads the value of key into next.
func (r *reader) readReplacement(d *decoder, key string, next *Rule) {
	switch key {
	case "condition":
		next.cond, next.condSc = d.text(key), r.partScope(d, key, "rule condition")
	case "output":
		next.output, next.outSc = d.text(key), r.partScope(d, key, "rule output")
	case "desc":
		next.Desc = d.str(key)
	case "priority":
		next.Priority = d.priority()
	case "tags":
		next.Tags = d.tags()
	case "exceptions":
		next.exceptions = r.readExceptions(d, true)
	case "enabled":
		d.boolean(key, false, &next.Enabled)
	case "warn_evttypes":
		d.boolean(key, false, &next.WarnEvttypes)
	case "skip-if-unknown-filter":
		d.boolean(key, false, &next.SkipIfUnknownFilter)
	case "capture", "capture_duration":
		d.capture(next)
	}
}

// readExceptions reads the key exceptions. For an append the fields may be missing.
func (r *reader) readExceptions(d *decoder, appends bool) []*exception {
	k, v := lookup(d.n, "exceptions")
	if d.err != nil || k == nil || isNull(v) {
		return nil
	}
	sc := d.sc.in(r.src, v, "exceptions", "")
	if v.Kind != yaml.SequenceNode {
		d.fail(sc.here(ErrYAMLValidate, "Rule exceptions must be a sequence", ""))
		return nil
	}
	var all []*exception
	for _, n := range v.Content {
		n = deref(n)
		e := &decoder{src: r.src, n: n, sc: sc.in(r.src, n, "exception", "")}
		if n.Kind != yaml.MappingNode {
			d.fail(e.sc.here(ErrYAMLValidate, "Rule exception must be a mapping", ""))
			return nil
		}
		x := r.readException(e, d.sc, appends)
		if e.err != nil {
			d.fail(e.err)
			return nil
		}
		for _, other := range all {
			if other.name == x.name {
				r.warn(x.sc.here(WarnExceptionNotUnique, fmt.Sprintf("Multiple definitions of exception '%s' in the same object", x.name), "give each its own name: an append can then say which one it means"))
				break
			}
		}
		all = append(all, x)
	}
	return all
}

func (r *reader) readException(e *decoder, rule *scope, appends bool) *exception {
	name := e.str("name")
	e.sc = rule.in(r.src, e.n, "exception", name)
	x := &exception{name: name, sc: e.sc}
	if e.err != nil {
		return x
	}
	r.checkKeys(e, "exception")
	x.fields = e.entry("fields", appends)
	x.comps = e.entry("comps", true)
	k, v := lookup(e.n, "values")
	switch {
	case e.err != nil:
	case k == nil && appends:
		r.warn(e.sc.here(WarnAppendNoValues, "Overriding/appending exception with no values", ""))
	case k == nil || isNull(v): // an exception that waits for others to append values
	case v.Kind != yaml.SequenceNode:
		e.fail(e.sc.in(r.src, v, "exception values", "").here(ErrYAMLValidate, "Rule exception values must be a sequence", ""))
	default:
		sc := e.sc.in(r.src, v, "exception values", "")
		for _, n := range v.Content {
			x.values = append(x.values, e.value(deref(n), sc.in(r.src, n, "exception value", ""), ""))
		}
	}
	return x
}

// entry reads the key as a string or a list.
func (d *decoder) entry(key string, optional bool) entry {
	if d.err != nil {
		return entry{}
	}
	k, v := lookup(d.n, key)
	if k == nil {
		if !optional {
			hint := d.nearKey(key)
			d.fail(d.sc.here(ErrYAMLValidate, fmt.Sprintf("Item has no mapping for key '%s'", key), hint))
		}
		return entry{}
	}
	return d.value(v, d.sc, key)
}

// Bounds of exceptions. Aliases let a short file stand for a very large one.
const (
	maxEntryDepth = 4       // values, tuples, lists in a tuple
	maxEntries    = 100_000 // of one file
)

// value reads n as an entry. A null, or a mapping, is no entry.
func (d *decoder) value(n *yaml.Node, sc *scope, key string) entry { return d.valueAt(n, sc, key, 0) }

func (d *decoder) valueAt(n *yaml.Node, sc *scope, key string, depth int) entry {
	n = deref(n)
	at := d.src.place(n)
	if d.src.entries++; d.err == nil && (depth > maxEntryDepth || d.src.entries > maxEntries) {
		d.fail(sc.in(d.src, n, "value for", key).here(ErrYAMLValidate, "Exceptions are nested too deep or too large", ""))
	}
	switch {
	case d.err != nil:
	case n.Kind == yaml.ScalarNode && !isNull(n):
		if n.Value == "" {
			d.fail(sc.in(d.src, n, "value for", key).here(ErrYAMLValidate, "Value must be non-empty", ""))
		}
		return entry{given: true, item: d.src.scalar(n), at: at}
	case n.Kind == yaml.SequenceNode:
		e := entry{given: true, isList: true, at: at}
		for _, c := range n.Content {
			e.items = append(e.items, d.valueAt(c, sc, key, depth+1))
		}
		return e
	}
	return entry{at: at}
}
