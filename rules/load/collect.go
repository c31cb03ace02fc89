package load

import (
	"fmt"
	"slices"

	"github.com/tiercel-project/tiercel/rules/spell"
)

// A Collection is what rules files define together, in the order of first definition.
type Collection struct {
	Rules   []*Rule
	Macros  []*Macro
	Lists   []*List
	Plugins []*Requirement // required plugins, all of them present

	rules    map[string]*Rule
	macros   map[string]*Macro
	lists    map[string]*List
	failed   map[string]bool // items whose definition had an error: what refers to them is not reported again
	next     int             // position of the next definition or append
	report   *Report
	exprs    []exprFile
	oddLists []*List // lists whose names are no words
}

func newCollection() *Collection {
	return &Collection{rules: map[string]*Rule{}, macros: map[string]*Macro{}, lists: map[string]*List{}, failed: map[string]bool{}}
}

func (c *Collection) position() int {
	c.next++
	return c.next - 1
}

func (c *Collection) defineList(l *List) {
	l.def = c.position()
	if prev := c.lists[l.Name]; prev != nil {
		l.def = prev.def
		*prev = *l
		return
	}
	c.lists[l.Name] = l
	c.Lists = append(c.Lists, l)
	if !isBareName(l.Name) {
		c.oddLists = append(c.oddLists, l)
	}
}

func (c *Collection) appendList(l *List) *Problem {
	prev := c.lists[l.Name]
	if prev == nil {
		if c.failed["list "+l.Name] {
			return nil
		}
		return l.sc.here(ErrValidate, msgNoList, c.nearHint("list", l.Name, keysOf(c.lists)))
	}
	prev.items = append(prev.items, l.items...)
	c.position()
	return nil
}

func (c *Collection) defineMacro(m *Macro) {
	m.visible = c.position()
	m.def, m.file = m.visible, m.sc.at.fileIndex()
	if prev := c.macros[m.Name]; prev != nil {
		m.def, m.file = prev.def, prev.file
		*prev = *m
		return
	}
	c.macros[m.Name] = m
	c.Macros = append(c.Macros, m)
}

func (c *Collection) appendMacro(m *Macro) *Problem {
	prev := c.macros[m.Name]
	if prev == nil {
		if c.failed["macro "+m.Name] {
			return nil
		}
		return m.sc.here(ErrValidate, msgNoMacro, c.nearHint("macro", m.Name, keysOf(c.macros)))
	}
	prev.cond = joinTexts(prev.cond, m.cond)
	prev.visible = c.position()
	return nil
}

// noRule says that no rule of that name is defined, unless its definition is in error already.
func (c *Collection) noRule(sc *scope, name, msg string) *Problem {
	if c.failed["rule "+name] {
		return nil
	}
	return sc.here(ErrValidate, msg, c.nearHint("rule", name, keysOf(c.rules)))
}

func (c *Collection) nearHint(kind, name string, names []string) string {
	if near := spell.Nearest(name, names); near != "" {
		return fmt.Sprintf("did you mean the %s %q?", kind, near)
	}
	return fmt.Sprintf("the %s must be defined in this file before, or in a file that is loaded before", kind)
}

func keysOf[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (c *Collection) defineRule(r *reader, u *Rule) *Problem {
	prev := c.rules[u.Name]
	if prev != nil && prev.Source != u.Source {
		return u.sc.here(ErrValidate, msgOtherSource, fmt.Sprintf("it was defined for %s at %s:%d", prev.Source, prev.File, prev.Line))
	}
	if !slices.Contains(r.opts.Sources, u.Source) {
		u.UnknownSource = true
		hint := ""
		if near := spell.Nearest(u.Source, r.opts.Sources); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		r.warn(u.sc.here(WarnUnknownSource, "Unknown source "+u.Source+", skipping", hint))
	}
	for _, x := range u.exceptions {
		if !x.fields.given {
			return x.sc.here(ErrValidate, "Rule exception item must have fields property with a list of fields", "")
		}
		if err := r.checkException(u, x); err != nil {
			return err
		}
	}
	u.def = c.position()
	if prev != nil {
		u.def = prev.def
		*prev = *u
		return nil
	}
	c.rules[u.Name] = u
	c.Rules = append(c.Rules, u)
	return nil
}

func (c *Collection) appendRule(r *reader, sc *scope, prev *Rule, u *update) *Problem {
	if !u.any() {
		return sc.here(ErrValidate, "Appended rule must have exceptions or condition property", "")
	}
	if u.cond != nil {
		prev.cond = joinTexts(prev.cond, *u.cond)
	}
	if u.output != nil {
		prev.output = joinTexts(prev.output, trimText(*u.output))
	}
	if u.desc != nil {
		prev.Desc += " " + u.desc.s
	}
	prev.Tags = append(slices.Clone(prev.Tags), u.tags...)
	slices.Sort(prev.Tags)
	prev.Tags = slices.Compact(prev.Tags)
	for _, x := range u.exceptions {
		if err := r.appendException(prev, x); err != nil {
			return err
		}
	}
	c.position()
	return nil
}

func (c *Collection) replaceRule(r *reader, prev, next *Rule, exceptions bool) *Problem {
	if exceptions {
		for _, x := range next.exceptions {
			if !x.fields.given && len(x.values) == 0 {
				continue // it adds nothing; of that there is a warning
			}
			if !x.fields.given {
				return x.sc.here(ErrValidate, msgNoFields, "")
			}
			if err := r.checkException(next, x); err != nil {
				return err
			}
		}
	}
	next.output = trimText(next.output)
	*prev = *next
	c.position()
	return nil
}
