package rulecmd

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/doctor"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/match"
	"github.com/tiercel-project/tiercel/sensor/extract"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

// ruleInfo is a rule as `rule list -o json` prints it.
type ruleInfo struct {
	Rule            string   `json:"rule"`
	Source          string   `json:"source"`
	Priority        string   `json:"priority"`
	Enabled         bool     `json:"enabled"`
	Tags            []string `json:"tags"`
	EventTypes      []string `json:"event_types"`
	ConditionFields []string `json:"condition_fields"`
	OutputFields    []string `json:"output_fields"`
	Desc            string   `json:"desc"`
	Condition       string   `json:"condition"`
	Output          string   `json:"output"`
	File            string   `json:"file"`
	Line            int      `json:"line"`
	KernelDecides   []string `json:"kernel_decides"` // of the comparisons of the condition
	KernelLeaves    []string `json:"kernel_leaves"`  // to user space
}

func (c *command) list() *cobra.Command {
	var format cli.Format
	var source sourceFlag
	var tag, status string
	cmd := &cobra.Command{
		Use:   "list [FILE|DIR…]",
		Short: "List rules with their event types and fields",
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := c.load(args, rules.Options{})
			if err != nil {
				return err
			}
			infos := []ruleInfo{}
			for _, r := range set.Rules() {
				if (source == "" || r.Source == string(source)) && (tag == "" || hasTag(r, tag)) {
					infos = append(infos, info(r))
				}
			}
			if format == cli.JSON || format == cli.YAML {
				return format.Print(c.Out, infos)
			}
			if err := c.printRules(infos, format == cli.Wide); err != nil || format != cli.Wide {
				return err
			}
			c.printRefused(cmd.Context(), set, status)
			return nil
		},
	}
	format.Flag(cmd, cli.Table, cli.Wide, cli.JSON, cli.YAML)
	cmd.Flags().Var(&source, "source", "only rules of this event source")
	cmd.Flags().StringVar(&tag, "tag", "", "only rules with this tag")
	cmd.Flags().StringVar(&status, "http", "127.0.0.1:8765", "with -o wide: address of /metrics of the tiercel that runs here, if one does, for what its kernel refused")
	return cmd
}

// printRefused says which event types have no kernel filter although their conditions allow of one: because the rules of set make it too
// large, or because the kernel of the tiercel that answers at status did not take the one of its own rules.
func (c *command) printRefused(ctx context.Context, set *rules.Set, status string) {
	var programs []*match.Program
	for _, r := range set.Rules() {
		if r.Enabled && r.Source == extract.RuleSource {
			programs = append(programs, r.Program())
		}
	}
	large := filter.Compile(programs, 0, filter.Options{}).TooLarge()
	for _, t := range slices.Sorted(maps.Keys(large)) {
		fmt.Fprintf(c.Out, "no kernel filter for %s, so that every such call is read: %v\n", t, large[t])
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	refused := doctor.Refused(ctx, http.DefaultClient, status)
	for _, t := range sortedKeys(refused) {
		fmt.Fprintf(c.Out, "the tiercel at %s has no kernel filter for %s, so that every such call is read: %s\n", status, t, refused[t])
	}
}

func hasTag(r *rules.Rule, tag string) bool {
	for _, t := range r.Tags {
		if t == tag {
			return true
		}
	}
	return false
}

func info(r *rules.Rule) ruleInfo {
	var decided, left []string
	if r.Source == extract.RuleSource {
		decided, left = filter.Describe(r.Program())
	}
	return ruleInfo{
		Rule: r.Name, Source: r.Source, Priority: r.Priority.String(), Enabled: r.Enabled, Tags: notNil(r.Tags), EventTypes: eventNames(r),
		ConditionFields: notNil(r.ConditionFields), OutputFields: notNil(r.OutputFields), Desc: r.Desc, Condition: r.Condition,
		Output: r.Output, File: r.File, Line: r.Line, KernelDecides: notNil(decided), KernelLeaves: notNil(left),
	}
}

func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// eventNames returns the event types of r: of a source with one type of event just that.
func eventNames(r *rules.Rule) []string {
	if r.Source != "syscall" {
		return notNil(r.Events.Intersect(field.NewEventSet(field.EventPluginevent)).Names())
	}
	return notNil(r.Events.Names())
}

func (c *command) printRules(infos []ruleInfo, wide bool) error {
	w := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', 0)
	head := "RULE\tSOURCE\tPRIORITY\tENABLED\tEVENT TYPES"
	if wide {
		head += "\tFIELDS\tTAGS\tKERNEL DECIDES\tUSER SPACE DECIDES"
	}
	fmt.Fprintln(w, head)
	for _, i := range infos {
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s", i.Rule, i.Source, i.Priority, i.Enabled, shorten(i.EventTypes, 6))
		if wide {
			fmt.Fprintf(w, "\t%s\t%s\t%s\t%s", strings.Join(i.ConditionFields, ","), strings.Join(i.Tags, ","),
				strings.Join(i.KernelDecides, ", "), strings.Join(i.KernelLeaves, ", "))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// shorten joins the first n words and says how many there are more.
func shorten(words []string, n int) string {
	if len(words) <= n {
		return strings.Join(words, ",")
	}
	return fmt.Sprintf("%s,… (%d)", strings.Join(words[:n], ","), len(words))
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
