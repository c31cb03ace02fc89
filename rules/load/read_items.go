package load

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tiercel-project/tiercel/rules/spell"
)

// What Falco says where an append or an override does not fit.
const (
	msgAppendDeprecated  = "'append' key is deprecated. Add an 'append' entry (e.g. 'condition: append') under 'override' instead."
	msgEnabledDeprecated = "The standalone 'enabled' key usage is deprecated. The correct approach requires also a 'replace' entry under the 'override' key (i.e. 'enabled: replace')."
	msgOverrideAppend    = "Keys 'override' and 'append: true' cannot be used together. Add an 'append' entry (e.g. 'condition: append') under 'override' instead."
	msgNoMacro           = "Macro uses 'append' or 'override.condition: append' but no macro by that name already exists"
	msgNoList            = "List uses 'append' or 'override.items: append' but no list by that name already exists"
	msgNoRuleAppend      = "Rule uses 'append' or 'override.<key>: append' but no rule by that name already exists"
	msgNoRuleReplace     = "An 'override.<key>: replace' to a rule was requested but no rule by that name already exists"
	msgNoRuleEnable      = "Rule has 'enabled' key but no rule by that name already exists"
	msgNoFields          = "Rule exception must have fields property with a list of fields"
	msgOtherSource       = "Rule has been re-defined with a different source"
)

// Names that a condition can refer to.
const (
	identifierPattern = `([a-zA-Z]+[a-zA-Z0-9_]*)`
	barePattern       = `([^()\"'[:space:]=,]+)`
)

// isIdentifier reports whether s can be the name of a macro in a condition.
func isIdentifier(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || s[i] != '_' && (s[i] < '0' || s[i] > '9')) {
			return false
		}
	}
	return s != ""
}

// isBareName reports whether s can be the name of a list in a condition.
func isBareName(s string) bool { return s != "" && !strings.ContainsAny(s, "()\"'=, \t\n\r\v\f") }

// overrides are the keys that an item's override appends to and replaces.
type overrides struct{ append, replace []string }

func (o *overrides) any() bool { return len(o.append)+len(o.replace) > 0 }

// overrides reads the key override, of which mayAppend and mayReplace are the keys it may name.
func (d *decoder) overrides(mayAppend, mayReplace []string) (o overrides) {
	k, v := lookup(d.n, "override")
	if d.err != nil || k == nil || isNull(v) {
		return o
	}
	sc := d.sc.in(d.src, d.n, "overrides", "")
	if v.Kind != yaml.MappingNode {
		d.fail(sc.problem(ErrYAMLValidate, d.src.place(v), 1, "Value of override must be a mapping", "write 'condition: append' or 'condition: replace' below it"))
		return o
	}
	for i := 0; i+1 < len(v.Content); i += 2 {
		key, op := v.Content[i], deref(v.Content[i+1])
		appendable, replaceable := slices.Contains(mayAppend, key.Value), slices.Contains(mayReplace, key.Value)
		keySc := sc.in(d.src, key, "overrides", key.Value)
		hint := ""
		if near := spell.Nearest(key.Value, mayReplace); near != "" && !replaceable {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		switch {
		case op.Value == "append" && !appendable:
			d.fail(keySc.here(ErrYAMLValidate, fmt.Sprintf("Key '%s' cannot be appended to, use 'replace' instead", key.Value), hint))
		case op.Value == "append":
			o.append = append(o.append, key.Value)
		case op.Value == "replace" && !replaceable:
			d.fail(keySc.here(ErrYAMLValidate, fmt.Sprintf("Key '%s' cannot be replaced", key.Value), hint))
		case op.Value == "replace":
			o.replace = append(o.replace, key.Value)
		default:
			msg := fmt.Sprintf("Invalid override operation for key '%s': '%s'. Allowed values are: ", key.Value, op.Value)
			if appendable {
				msg += "append "
			}
			if replaceable {
				msg += "replace "
			}
			d.fail(sc.in(d.src, op, "value for", key.Value).here(ErrYAMLValidate, msg, ""))
		}
	}
	return o
}

// appendFlag reads the deprecated key append.
func (r *reader) appendFlag(d *decoder) bool {
	on := false
	d.boolean("append", true, &on)
	if on && d.err == nil {
		r.warn(d.sc.here(WarnDeprecatedItem, msgAppendDeprecated, ""))
	}
	return on
}

func (r *reader) readList(d *decoder) *Problem {
	l := &List{Name: d.named("list"), sc: d.sc}
	if d.err != nil {
		return d.err
	}
	r.checkKeys(d, "list")
	if !isBareName(l.Name) {
		r.warn(d.sc.here(WarnInvalidListName, "List has an invalid name. List names should match a regular expression: "+barePattern, ""))
	}
	l.items = d.sequence("items", false)
	appends := r.appendFlag(d)
	o := d.overrides([]string{"items"}, []string{"items"})
	if d.err == nil && appends && o.any() {
		d.failHere(ErrYAMLValidate, msgOverrideAppend)
	}
	if d.err != nil {
		r.col.failed["list "+l.Name] = true
		return d.err
	}
	if appends || len(o.append) > 0 {
		return r.col.appendList(l)
	}
	r.col.defineList(l)
	return nil
}

func (r *reader) readMacro(d *decoder) *Problem {
	m := &Macro{Name: d.named("macro"), sc: d.sc}
	if d.err != nil {
		return d.err
	}
	r.checkKeys(d, "macro")
	if !isIdentifier(m.Name) {
		r.warn(d.sc.here(WarnInvalidMacroName, "Macro has an invalid name. Macro names should match a regular expression: "+identifierPattern, ""))
	}
	m.cond = d.text("condition")
	appends := r.appendFlag(d)
	o := d.overrides([]string{"condition"}, []string{"condition"})
	if d.err == nil && appends && o.any() {
		d.failHere(ErrYAMLValidate, msgOverrideAppend)
	}
	if d.err != nil {
		r.col.failed["macro "+m.Name] = true
		return d.err
	}
	_, cond := lookup(d.n, "condition")
	m.condSc = d.sc.in(r.src, cond, "macro condition", "")
	if appends || len(o.append) > 0 {
		return r.col.appendMacro(m)
	}
	r.col.defineMacro(m)
	return nil
}

// tags reads the tags of a rule: sorted, each once.
func (d *decoder) tags() []string {
	var tags []string
	for _, t := range d.sequence("tags", true) {
		tags = append(tags, t.s)
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// priority reads the priority of a rule.
func (d *decoder) priority() Priority {
	v := d.scalar("priority", false)
	if v == nil {
		return 0
	}
	p, err := ParsePriority(v.Value)
	if err != nil {
		hint := "a priority is one of " + strings.Join(priorityNames[:], ", ")
		if near := spell.Nearest(v.Value, priorityNames[:]); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		d.fail(d.sc.in(d.src, v, "rule priority", "").here(ErrYAMLValidate, "Invalid priority", hint))
	}
	return p
}
