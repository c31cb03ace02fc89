package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/format"
	"github.com/tiercel-project/tiercel/rules/load"
)

// An output is the compiled output of a rule.
type output struct {
	parts  []part
	fields []outputField // once compiled sorted by name
}

// A part of an output is a text or a template.
type part struct {
	text     string
	template *format.Template
}

// refs returns each use of a field that the text prints.
func (o *output) refs() []field.Ref {
	var all []field.Ref
	for i := range o.parts {
		if t := o.parts[i].template; t != nil {
			all = append(all, t.Refs()...)
		}
	}
	return all
}

// An outputField is a field that alerts have beside their text.
type outputField struct {
	name     string
	field    format.Field
	static   *string          // the value, if it does not depend on the event
	template *format.Template // renders the value, if it is not the field's own
}

const msgContainerInfo = "%container.info is deprecated and no more useful, and will be dropped by Falco 1.0.0. " +
	"The container plugin will automatically add required fields to the output message."

// output compiles the output of u into r, with what the options append to it. It reports whether that went well.
func (c *compiler) output(u *load.Rule, r *Rule) bool {
	text := u.Output
	var extra []ExtraField
	for _, a := range c.opts.AppendOutput {
		if !a.applies(u) {
			continue
		}
		if a.ExtraOutput != "" {
			text += " " + a.ExtraOutput
		}
		if a.SuggestedOutput {
			text += c.suggested(u.Source)
		}
		extra = append(extra, a.ExtraFields...)
	}
	if strings.Contains(text, "%container.info") {
		c.col.RuleProblem(load.AsWarning, load.WarnDeprecatedItem, u, msgContainerInfo, "")
		text = strings.ReplaceAll(text, "%container.info", "")
	}
	r.Output = text
	o, err := c.template(text, u.Source)
	if err == nil {
		err = c.extraFields(o, extra, u.Source)
	}
	if err != nil {
		severity, code := load.AsError, load.ErrCompileOutput
		off, hint, unknown := 0, "", false
		if ferr, ok := errors.AsType[*format.Error](err); ok {
			off, hint, unknown = ferr.Offset, near(ferr.Near), ferr.Unknown
		}
		if unknown && u.SkipIfUnknownFilter {
			severity, code = load.AsWarning, load.WarnUnknownFilter
		}
		c.col.OutputProblem(severity, code, u, off, err.Error(), hint)
		return false
	}
	r.out = o
	for _, f := range o.fields {
		r.OutputFields = append(r.OutputFields, f.name)
		if msg := deprecated(f.name, "output"); msg != "" {
			c.col.OutputProblem(load.AsWarning, load.WarnDeprecatedItem, u, max(strings.Index(u.Output, "%"+f.name), 0), msg, deprecatedHint(f.name))
		}
	}
	slices.Sort(r.OutputFields)
	slices.SortFunc(o.fields, func(a, b outputField) int { return strings.Compare(a.name, b.name) })
	return true
}

// applies reports whether a is meant for u.
func (a *AppendOutput) applies(u *load.Rule) bool { return a.matches(u.Name, u.Source, u.Tags) }

// matches reports whether a is meant for a rule of that name.
func (a *AppendOutput) matches(name, source string, tags []string) bool {
	if a.Match.Source != "" && a.Match.Source != source || a.Match.Rule != "" && a.Match.Rule != name {
		return false
	}
	for _, t := range a.Match.Tags {
		if !slices.Contains(tags, t) {
			return false
		}
	}
	return true
}

// suggested returns the fields that a source suggests, as they are appended to outputs: " container_id=%container.id". Fields that the
// source is known not to give are left out, as Falco leaves out those of plugins that are not loaded.
func (c *compiler) suggested(source string) string {
	var b strings.Builder
	for _, id := range field.All() {
		if info := id.Info(); info.Flags&field.FlagSuggested != 0 && info.InSource(source) && c.gives(source, id) {
			fmt.Fprintf(&b, " %s=%%%s", strings.ReplaceAll(info.Name, ".", "_"), info.Name)
		}
	}
	return b.String()
}

// gives reports whether the field may have a value in events of source, as far as the options tell.
func (c *compiler) gives(source string, id field.ID) bool {
	return c.opts.Provider.Field == nil || c.opts.Provider.Field(source, &field.Ref{ID: id, Index: -1})
}

const staticPrefix = "%static."

// template compiles text. %static.key stands for the static field of that key.
func (c *compiler) template(text, source string) (*output, error) {
	o := &output{}
	for rest, off := text, 0; ; {
		i := strings.Index(rest, staticPrefix)
		if i < 0 {
			return o, o.add(rest, off, source)
		}
		if err := o.add(rest[:i], off, source); err != nil {
			return nil, err
		}
		key := c.staticKey(rest[i+len(staticPrefix):])
		value, ok := c.opts.StaticFields[key]
		if !ok {
			return nil, &format.Error{Offset: off + i, Msg: "invalid formatting token " + strings.TrimPrefix(rest[i:], "%")}
		}
		o.parts = append(o.parts, part{text: value})
		o.addField(outputField{name: "static." + key, static: &value})
		off += i + len(staticPrefix) + len(key)
		rest = text[off:]
	}
}

// staticKey returns the longest key of a static field that s begins with.
func (c *compiler) staticKey(s string) string {
	best := ""
	for k := range c.opts.StaticFields {
		if strings.HasPrefix(s, k) && len(k) > len(best) {
			best = k
		}
	}
	return best
}

// compileFormat compiles a template that prints <NA> for what is missing, as Falco does with all outputs.
func compileFormat(text, source string) (*format.Template, error) {
	if strings.HasPrefix(text, "*") {
		return format.Compile(text, source)
	}
	t, err := format.Compile("*"+text, source)
	if ferr, ok := errors.AsType[*format.Error](err); ok {
		ferr.Offset--
	}
	return t, err
}

// add compiles a part of the output, which begins at off.
func (o *output) add(text string, off int, source string) error {
	if text == "" {
		return nil
	}
	if off > 0 {
		text, off = "*"+text, off-1 // only a star at the very beginning is one
	}
	t, err := compileFormat(text, source)
	if err != nil {
		if ferr, ok := errors.AsType[*format.Error](err); ok {
			ferr.Offset += off
		}
		return err
	}
	o.parts = append(o.parts, part{template: t})
	for _, f := range t.Fields() {
		o.addField(outputField{name: f.Name, field: f})
	}
	return nil
}

// extraFields adds the output fields that options ask for.
func (c *compiler) extraFields(o *output, extra []ExtraField, source string) error {
	for _, x := range extra {
		text := x.Format
		if text == "" {
			text = "%" + x.Name
		}
		t, err := compileFormat(text, source)
		if err != nil {
			return fmt.Errorf("extra field %q: %w", x.Name, err)
		}
		f := outputField{name: x.Name, template: t}
		if fields := t.Fields(); x.Format == "" && len(fields) == 1 && fields[0].Name == x.Name {
			f.field, f.template = fields[0], nil
		}
		o.addField(f)
	}
	return nil
}

// addField adds f unless there is one of its name.
func (o *output) addField(f outputField) {
	if !slices.ContainsFunc(o.fields, func(g outputField) bool { return g.name == f.name }) {
		o.fields = append(o.fields, f)
	}
}

// A renderer makes texts and fields of alerts. What it needs for that is kept for the next one: an alert often comes after a pause in which the
// processor's caches were used by others, and then each allocation costs more than its text.
type renderer struct {
	value field.Value
	text  []byte // all texts of an alert, one after the other
	spans []span
}

// keptText bounds what is kept for the next alert.
const keptText = 64 << 10

// A span is where the text of a field stands in text; nothing where its value is no text.
type span struct {
	field      int
	start, end int
}

// render gives a what o says about ev, a's time being that of ev.
func (r *renderer) render(o *output, ev field.Event, a *Alert) {
	r.text, r.spans = o.appendText(r.text[:0], ev, &r.value), r.spans[:0]
	output := len(r.text)
	fields := make([]OutputField, 0, len(o.fields)+1)
	name := "evt.time"
	var at any = a.Time.UnixNano()
	if a.TimeISO8601 {
		name, at = "evt.time.iso8601", a.Time.Local().Format("2006-01-02T15:04:05.000000000-0700")
	}
	timed := false
	for i := range o.fields {
		f := &o.fields[i]
		if !timed && name <= f.name {
			fields, timed = append(fields, OutputField{Name: name, Value: at}), true
		}
		start := len(r.text)
		var value any
		var isText bool
		switch {
		case f.name == name:
			continue
		case f.static != nil:
			value = *f.static
		case f.template != nil:
			r.text, _ = f.template.Append(r.text, ev, &r.value)
			isText = true
		default:
			r.text, value, isText = f.field.AppendValue(r.text, ev, &r.value)
		}
		if isText {
			r.spans = append(r.spans, span{len(fields), start, len(r.text)})
		}
		fields = append(fields, OutputField{Name: f.name, Value: value})
	}
	if !timed {
		fields = append(fields, OutputField{Name: name, Value: at})
	}
	all := string(r.text)
	a.Output = all[:output]
	for _, s := range r.spans {
		fields[s.field].Value = all[s.start:s.end]
	}
	a.OutputFields = fields
	if cap(r.text) > keptText {
		r.text = nil
	}
}

// appendText renders o. v is room for a value.
func (o *output) appendText(dst []byte, ev field.Event, v *field.Value) []byte {
	for _, p := range o.parts {
		if p.template == nil {
			dst = append(dst, p.text...)
			continue
		}
		dst, _ = p.template.Append(dst, ev, v)
	}
	return dst
}
