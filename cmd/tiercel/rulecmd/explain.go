package rulecmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/match"
	"github.com/tiercel-project/tiercel/rules/spell"
)

// explanation says why a rule matched an event or why not.
type explanation struct {
	Event    int        `json:"event"` // from 1
	Rule     string     `json:"rule"`
	Match    bool       `json:"match"`
	Enabled  bool       `json:"enabled"`
	Form     string     `json:"path_form,omitempty"` // which form of paths it is about, where there are two
	Deciding []deciding `json:"deciding"`            // the checks that made the result what it is
}

// deciding is a check with its result and the values it saw; null is no value.
type deciding struct {
	Check  string             `json:"check"`
	Result bool               `json:"result"`
	Values map[string]*string `json:"values"`
}

func (c *command) explain() *cobra.Command {
	var format cli.Format
	var paths []string
	var name string
	var all bool
	cmd := &cobra.Command{
		Use:   "explain -r RULES… EVENT",
		Short: "Say why rules match a recorded event or do not",
		Long: "For each rule of the event's source that is for its type, say which sub-expressions decided, with the values of their fields.\n" +
			"EVENT is a file of recorded events, as for rule test, or - for the standard input.",
		Example: "  tiercel rule explain -r my_rules.yaml --rule 'Read sensitive file' event.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			set, err := c.load(paths, rules.Options{Hostname: testHost})
			if err != nil {
				return err
			}
			if name != "" && set.Rule(name) == nil {
				return noRule(set, name)
			}
			events, err := c.readEvents(args[0])
			if err != nil {
				return err
			}
			out := []explanation{}
			for i, ev := range events {
				for _, r := range set.Rules() {
					if r.Source == ev.RuleSource() && (name == r.Name || name == "" && (all || r.Events.Has(ev.Type()))) {
						out = append(out, explainRule(r, ev, i+1))
					}
				}
			}
			if format == cli.JSON || format == cli.YAML {
				return format.Print(c.Out, out)
			}
			return printExplanations(c.Out, out, len(events) > 1)
		},
	}
	format.Flag(cmd, cli.Table, cli.JSON, cli.YAML)
	cmd.Flags().StringArrayVarP(&paths, "rules", "r", nil, "rules file or directory, may be repeated; default the embedded rules")
	cmd.Flags().StringVar(&name, "rule", "", "only the rule of this name")
	cmd.Flags().BoolVar(&all, "all", false, "also rules that are not for the event's type")
	return cmd
}

func noRule(set *rules.Set, name string) error {
	var names []string
	for _, r := range set.Rules() {
		names = append(names, r.Name)
	}
	err := &cli.Error{Err: fmt.Errorf("no rule is called %q", name)}
	if near := spell.Nearest(name, names); near != "" {
		err.Hint = fmt.Sprintf("did you mean %q?", near)
	}
	return err
}

func explainRule(r *rules.Rule, ev field.Event, n int) explanation {
	x := r.Explain(ev)
	e := explanation{Event: n, Rule: r.Name, Match: x.Result, Enabled: r.Enabled, Deciding: []deciding{}}
	if ev.TwoForms() {
		e.Form = "as passed"
		if x.Form == field.Resolved {
			e.Form = "resolved"
		}
	}
	for _, d := range x.Deciding() {
		e.Deciding = append(e.Deciding, deciding{Check: checkText(d.Expr), Result: d.Result, Values: valuesOf(d)})
	}
	return e
}

// maxCheckText is how much of a check is shown: lists can be long.
const maxCheckText = 200

func checkText(e filter.Expr) string {
	s := filter.FalcoString(e)
	if r := []rune(s); len(r) > maxCheckText {
		s = string(r[:maxCheckText]) + "…"
	}
	return s
}

func valuesOf(x *match.Explanation) map[string]*string {
	m := map[string]*string{}
	for _, v := range x.Values {
		if v.Missing {
			m[v.Operand] = nil
			continue
		}
		m[v.Operand] = &v.Text
	}
	return m
}

func printExplanations(w io.Writer, out []explanation, several bool) error {
	var b strings.Builder
	if len(out) == 0 {
		b.WriteString("no rule is for this event's type\n")
	}
	for _, e := range out {
		if several {
			fmt.Fprintf(&b, "event %d: ", e.Event)
		}
		verdict := "no match"
		if e.Match {
			verdict = "match"
		}
		if !e.Enabled {
			verdict += ", disabled"
		}
		if e.Form != "" {
			verdict += ", paths " + e.Form
		}
		fmt.Fprintf(&b, "rule %q: %s\n", e.Rule, verdict)
		for _, d := range e.Deciding {
			fmt.Fprintf(&b, "  %-5v  %s", d.Result, d.Check)
			for _, name := range sortedKeys(d.Values) {
				if v := d.Values[name]; v != nil {
					fmt.Fprintf(&b, "  [%s = %q]", name, *v)
				} else {
					fmt.Fprintf(&b, "  [%s has no value]", name)
				}
			}
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
