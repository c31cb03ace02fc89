package rules

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/load"
	"github.com/tiercel-project/tiercel/rules/match"
)

// defaultSources are the event sources that are known unless Options say otherwise.
var defaultSources = []string{"syscall", "k8s_audit"}

// manyEvents is how many event types a rule may match before it is said to be slow. It is Falco's number.
const manyEvents = 100

// Load reads and compiles rules files in order. It returns the rules and what was found; the Set is nil if, and only if, the Report has
// errors. It looks at nothing but its arguments and, for an empty Options.Hostname, the host's name.
func Load(files []File, opts Options) (*Set, *Report) {
	if opts.Sources == nil {
		opts.Sources = defaultSources
	}
	if opts.Hostname == "" {
		opts.Hostname = hostname()
	}
	col, rep := load.Read(files, load.Options{Sources: opts.Sources, FieldError: fieldError})
	if !rep.OK() {
		return nil, rep // what follows would only repeat it
	}
	c := &compiler{col: col, opts: opts, asts: col.Resolve(), compilers: map[string]*match.Compiler{}}
	var set []*Rule
	for _, u := range col.Rules {
		if r := c.rule(u); r != nil {
			r.index = len(set)
			set = append(set, r)
		}
	}
	if !rep.OK() {
		return nil, rep
	}
	col.WarnUnused()
	selectRules(set, opts)
	c.warnRules(set)
	return newSet(set, opts), rep
}

// hostname returns what alerts call this host, as Falco finds it.
func hostname() string {
	if h := os.Getenv("FALCO_HOSTNAME"); h != "" {
		return h
	}
	h, err := os.Hostname()
	if err != nil {
		return ""
	}
	return h
}

// fieldError says why a source has no field that text names.
func fieldError(source, text string) error {
	ref, err := field.Lookup(text)
	if err != nil {
		return err
	}
	if !ref.ID.Info().InSource(source) {
		return &field.UnknownError{Name: text}
	}
	return nil
}

// A compiler turns the rules of a Collection into Rules.
type compiler struct {
	col  *load.Collection
	opts Options
	asts map[*load.Rule]*load.Condition

	compilers map[string]*match.Compiler // by source
}

// compiler returns the compiler of conditions of a source. What rules share is compiled once.
func (c *compiler) compiler(source string) *match.Compiler {
	m := c.compilers[source]
	if m == nil {
		m = match.NewCompiler(match.Env{Source: source})
		c.compilers[source] = m
	}
	return m
}

// rule compiles u. It returns nil if u is left out or in error.
func (c *compiler) rule(u *load.Rule) *Rule {
	cond := c.asts[u]
	if cond == nil {
		return nil
	}
	r := &Rule{
		Name: u.Name, Source: u.Source, Desc: strings.TrimSpace(u.Desc), Priority: u.Priority, Tags: u.Tags, Enabled: u.Enabled,
		Capture: u.Capture, CaptureDuration: u.CaptureDuration, File: u.File, Line: u.Line, Col: u.Col, spec: u, cond: cond,
	}
	ok := c.output(u, r)
	return c.condition(u, cond, r, ok)
}

// condition compiles the condition of r. It returns nil if that, or the output before it, is in error or left out.
func (c *compiler) condition(u *load.Rule, cond *load.Condition, r *Rule, outputOK bool) *Rule {
	prog, warnings, err := c.compiler(u.Source).Compile(cond.Expr)
	if err != nil {
		merr, ok := errors.AsType[*match.Error](err)
		if !ok {
			merr = &match.Error{Pos: cond.Expr.Pos(), Msg: err.Error()}
		}
		severity, code := load.AsError, load.ErrCompileCondition
		if merr.Unknown && u.SkipIfUnknownFilter {
			severity, code = load.AsWarning, load.WarnUnknownFilter
		}
		if outputOK || severity == load.AsError {
			c.col.ConditionProblem(severity, code, u, cond, merr.Pos.Offset, merr.Msg, near(merr.Near))
		}
		return nil
	}
	if !outputOK {
		return nil
	}
	for _, w := range warnings {
		c.col.ConditionProblem(load.AsWarning, load.WarnCompileCondition, u, cond, w.Pos.Offset, w.Msg, "")
	}
	c.lint(u, cond)
	r.prog, r.Events = prog, prog.EventTypes()
	if err := prog.EventTypesErr(); err != nil {
		off, msg := cond.Expr.Pos().Offset, err.Error()
		if merr, ok := errors.AsType[*match.Error](err); ok {
			off, msg = merr.Pos.Offset, merr.Msg
		}
		c.col.ConditionProblem(load.AsError, load.ErrCompileCondition, u, cond, off, msg, "")
		return nil
	}
	if u.Source == "syscall" && u.WarnEvttypes && r.Events.Len() > manyEvents {
		c.col.RuleProblem(load.AsWarning, load.WarnNoEvttype, u, "Rule matches too many evt.type values. This has a significant performance penalty.",
			"add a check of evt.type to the condition")
	}
	r.Condition = filter.FalcoString(cond.Expr)
	for _, ref := range prog.Fields() {
		r.ConditionFields = append(r.ConditionFields, ref.String())
	}
	slices.Sort(r.ConditionFields)
	return r
}

// near words the nearest name as a hint.
func near(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %s?", name)
}

// lint warns of what a condition does that is allowed but deprecated or unsafe.
func (c *compiler) lint(u *load.Rule, cond *load.Condition) {
	seen := map[string]bool{}
	filter.Fields(cond.Expr, func(f *filter.Field) {
		if msg := deprecated(f.Name, "condition"); msg != "" && !seen[f.Name] {
			seen[f.Name] = true
			c.col.ConditionProblem(load.AsWarning, load.WarnDeprecatedItem, u, cond, f.At.Offset, msg, deprecatedHint(f.Name))
		}
	})
	unsafe := false
	filter.Walk(cond.Expr, func(e filter.Expr) bool {
		if check, ok := e.(*filter.Check); ok && !unsafe && comparesNA(check) {
			unsafe = true
			c.col.ConditionProblem(load.AsWarning, load.WarnUnsafeNACheck, u, cond, check.At.Offset,
				"comparing a field value with <NA> is unsafe and can lead to unpredictable behavior of the rule condition. If you need to check for the existence of a field, consider using the 'exists' operator instead.", "")
		}
		return true
	})
}

// deprecated returns the warning about a deprecated field in a part of a rule; empty if the field is not deprecated.
func deprecated(name, part string) string {
	id, ok := field.ByName(name)
	if !ok || id.Info().Flags&field.FlagDeprecated == 0 {
		return ""
	}
	return fmt.Sprintf("usage of deprecated field '%s' has been detected in the rule %s", name, part)
}

func deprecatedHint(name string) string {
	switch {
	case name == "evt.dir":
		return "'evt.dir = <' is always true and 'evt.dir = >' never: leave it out"
	case strings.HasPrefix(name, "evt.latency"), name == "evt.wait_latency":
		return "the field has no value: calls are seen when they end"
	}
	return ""
}

// comparesNA reports whether check compares a field of audit events with what outputs print for no value.
func comparesNA(check *filter.Check) bool {
	f, ok := check.Left.(*filter.Field)
	if !ok || !strings.HasPrefix(f.Name, "ka.") && !strings.HasPrefix(f.Name, "jevt.") {
		return false
	}
	switch check.Op {
	case filter.Equal, filter.DoubleEqual, filter.NotEqual, filter.In, filter.Intersects, filter.PMatch:
	default:
		return false
	}
	switch right := check.Right.(type) {
	case *filter.Value:
		return right.Text == "<NA>"
	case *filter.List:
		return slices.ContainsFunc(right.Items, func(v *filter.Value) bool { return v.Text == "<NA>" })
	}
	return false
}
