package load

import "github.com/tiercel-project/tiercel/rules/filter"

// result returns the result of the file that p is in.
func (c *Collection) result(p *Problem) *FileResult {
	if p.src == nil {
		return c.report.Files[0]
	}
	return c.report.Files[p.src.file]
}

func (c *Collection) fail(p *Problem) { r := c.result(p); r.Errors = append(r.Errors, p) }
func (c *Collection) warn(p *Problem) { r := c.result(p); r.Warnings = append(r.Warnings, p) }

// A Severity tells errors from warnings.
type Severity bool

// Severities.
const (
	AsError   Severity = true
	AsWarning Severity = false
)

func (c *Collection) add(s Severity, p *Problem) {
	if s == AsError {
		c.fail(p)
	} else {
		c.warn(p)
	}
}

// ConditionProblem reports a problem at offset off of the tree of u's condition. If the place is in a macro, it is reported there, and
// where u uses the macro is named too.
func (c *Collection) ConditionProblem(s Severity, code Code, u *Rule, cond *Condition, off int, msg, hint string) {
	f := c.exprAt(off)
	if f == nil {
		c.RuleProblem(s, code, u, msg, hint)
		return
	}
	p := conditionProblem(f, code, off-f.base, msg, hint)
	if f.macro != nil {
		if id := c.use(cond.raw, f.macro, map[*Macro]bool{}); id != nil {
			g := c.exprAt(id.At.Offset)
			use := conditionProblem(g, code, id.At.Offset-g.base, msg, "")
			p.Use = &use.Context[len(use.Context)-1]
			p.useLine = use.line
			p.Context = append(use.Context, p.Context[1:]...)
			p.Rule = u.Name
		}
	}
	c.add(s, p)
}

// use returns the name in e through which e comes to macro m; nil if it does not.
func (c *Collection) use(e filter.Expr, m *Macro, seen map[*Macro]bool) (found *filter.Ident) {
	filter.Walk(e, func(e filter.Expr) bool {
		id, ok := e.(*filter.Ident)
		if !ok || found != nil {
			return found == nil
		}
		o := c.macros[id.Name]
		if o == nil {
			return true
		}
		if o == m {
			found = id
		} else if !seen[o] && o.tree != nil {
			seen[o] = true
			if c.use(o.tree.raw, m, seen) != nil {
				found = id
			}
		}
		return found == nil
	})
	return found
}

// OutputProblem reports a problem at offset off of u's output.
func (c *Collection) OutputProblem(s Severity, code Code, u *Rule, off int, msg, hint string) {
	p := u.output.place(max(min(off, len(u.output.s)), 0))
	width := 1
	if p.src != nil {
		width = tokenLen(p.src.text[min(p.off, len(p.src.text)):])
	}
	c.add(s, u.outSc.problem(code, p, width, msg, hint))
}

// RuleProblem reports a problem of u as a whole.
func (c *Collection) RuleProblem(s Severity, code Code, u *Rule, msg, hint string) {
	c.add(s, u.sc.here(code, msg, hint))
}

// WarnUnused warns of macros and lists that nothing refers to.
func (c *Collection) WarnUnused() {
	for _, m := range c.Macros {
		if !m.Used {
			c.warn(m.sc.here(WarnUnusedMacro, "Macro not referred to by any other rule/macro", ""))
		}
	}
	for _, l := range c.Lists {
		if !l.Used {
			c.warn(l.sc.here(WarnUnusedList, "List not referred to by any other rule/macro", ""))
		}
	}
}
