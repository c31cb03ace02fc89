package rulecmd

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/rules/field"
)

// eventInfo is an event type as `rule events -o json` prints it.
type eventInfo struct {
	Name     string   `json:"name"`
	Kind     string   `json:"kind"`
	Category string   `json:"category"`
	Args     []string `json:"args"`
	Given    bool     `json:"given"`
}

// kindNames are the kinds of event types.
var kindNames = map[field.EventKind]string{
	field.Generic: "generic", field.Syscall: "syscall", field.Tracepoint: "tracepoint", field.Plugin: "plugin", field.Meta: "meta",
	field.Iterator: "iterator",
}

func (c *command) events() *cobra.Command {
	var format cli.Format
	var all bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "List the event types and their arguments",
		Long: "List the event types that evt.type may be compared with and the arguments that evt.arg gives. System calls without a model\n" +
			"of their own (--all) give their type, result and raw arguments.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			infos := []eventInfo{}
			for t := range field.AllEvents().All() {
				if i := t.Info(); all || i.Kind != field.Generic {
					infos = append(infos, c.eventInfo(t))
				}
			}
			slices.SortStableFunc(infos, func(a, b eventInfo) int { return strings.Compare(a.Name, b.Name) })
			if format == cli.JSON || format == cli.YAML {
				return format.Print(c.Out, infos)
			}
			w := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "EVENT TYPE\tKIND\tGIVEN\tARGUMENTS")
			for _, i := range infos {
				fmt.Fprintf(w, "%s\t%s\t%v\t%s\n", i.Name, i.Kind, i.Given, strings.Join(i.Args, " "))
			}
			return w.Flush()
		},
	}
	format.Flag(cmd, cli.Table, cli.JSON, cli.YAML)
	cmd.Flags().BoolVar(&all, "all", false, "also system calls that have no model of their own")
	return cmd
}

func (c *command) eventInfo(t field.EventType) eventInfo {
	i := t.Info()
	source := "syscall"
	if i.Kind == field.Plugin {
		source = "k8s_audit"
	}
	out := eventInfo{Name: i.Name, Kind: kindNames[i.Kind], Category: i.Category, Args: []string{}, Given: c.provider.Event(source, t)}
	for _, p := range i.Params {
		out.Args = append(out.Args, p.Name)
	}
	return out
}
