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

// fieldInfo is a field as `rule fields -o json` prints it.
type fieldInfo struct {
	Name       string   `json:"name"`
	Type       string   `json:"type"`
	Class      string   `json:"class"`
	Sources    []string `json:"sources"`
	List       bool     `json:"list,omitempty"`
	Argument   string   `json:"argument,omitempty"` // optional, required
	Index      bool     `json:"argument_index,omitempty"`
	Key        bool     `json:"argument_key,omitempty"`
	FilterOnly bool     `json:"filter_only,omitempty"`
	PrintOnly  bool     `json:"print_only,omitempty"`
	Deprecated bool     `json:"deprecated,omitempty"`
	Given      bool     `json:"given"` // false: it loads and never has a value yet
	Desc       string   `json:"desc"`
	EventTypes []string `json:"event_types,omitempty"` // missing: all
}

func (c *command) fields() *cobra.Command {
	var format cli.Format
	var source sourceFlag
	cmd := &cobra.Command{
		Use:   "fields [PREFIX]",
		Short: "List the fields of conditions and outputs",
		Long: "List the fields of conditions and outputs with their type and meaning, those whose name begins with PREFIX if one is given.\n" +
			"A field that is not given yet loads and never has a value: comparisons with it are false.",
		Example: "  tiercel rule fields proc.\n  tiercel rule fields --source k8s_audit -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			prefix := ""
			if len(args) > 0 {
				prefix = args[0]
			}
			infos := []fieldInfo{}
			for _, id := range field.All() {
				if strings.HasPrefix(id.String(), prefix) && (source == "" || id.Info().InSource(string(source))) {
					infos = append(infos, c.fieldInfo(id))
				}
			}
			if len(infos) == 0 && prefix != "" {
				err := &cli.Error{Err: fmt.Errorf("no field begins with %q", prefix)}
				if near := field.Nearest(prefix); near != "" {
					err.Hint = "did you mean " + near + "?"
				}
				return err
			}
			if format == cli.JSON || format == cli.YAML {
				return format.Print(c.Out, infos)
			}
			return c.printFields(infos, format == cli.Wide)
		},
	}
	format.Flag(cmd, cli.Table, cli.Wide, cli.JSON, cli.YAML)
	cmd.Flags().Var(&source, "source", "only fields that rules of this event source may use: syscall, k8s_audit")
	return cmd
}

// ruleSources are the event sources that rules are for.
var ruleSources = []string{"syscall", "k8s_audit"}

func (c *command) fieldInfo(id field.ID) fieldInfo {
	i := id.Info()
	out := fieldInfo{
		Name: i.Name, Type: typeNames[i.Type], Class: i.Class, Desc: i.Desc, Sources: []string{},
		List: i.Flags&field.FlagList != 0, Index: i.Flags&field.FlagArgIndex != 0, Key: i.Flags&field.FlagArgKey != 0,
		FilterOnly: i.Flags&field.FlagFilterOnly != 0, PrintOnly: i.Flags&field.FlagPrintOnly != 0,
		Deprecated: i.Flags&field.FlagDeprecated != 0,
	}
	switch {
	case i.Flags&field.FlagArgRequired != 0:
		out.Argument = "required"
	case i.Flags&(field.FlagArgAllowed|field.FlagArgIndex|field.FlagArgKey) != 0:
		out.Argument = "optional"
	}
	ref := field.Ref{ID: id, Index: -1}
	if id == field.EvtArg || id == field.EvtRawarg {
		ref = field.Ref{ID: id, Arg: "0", Index: 0} // some argument
	}
	for _, s := range ruleSources {
		if i.InSource(s) {
			out.Sources = append(out.Sources, s)
			out.Given = out.Given || c.provider.Field(s, &ref)
		}
	}
	if events := ref.Events(); events != field.AllEvents() && id != field.EvtArg && id != field.EvtRawarg {
		out.EventTypes = modelled(events)
	}
	return out
}

// modelled returns the names of the event types in s that have a model of their own.
func modelled(s field.EventSet) []string {
	var names []string
	for t := range s.All() {
		if t.Info().Kind != field.Generic {
			names = append(names, t.String())
		}
	}
	slices.Sort(names)
	return names
}

// typeNames are the types as Falco names them in messages and lists.
var typeNames = map[field.Type]string{
	field.TypeString: "CHARBUF", field.TypeBytes: "BYTEBUF", field.TypeInt16: "INT16", field.TypeInt32: "INT32", field.TypeInt64: "INT64",
	field.TypeUint32: "UINT32", field.TypeUint64: "UINT64", field.TypeBool: "BOOL", field.TypeDouble: "DOUBLE", field.TypePort: "PORT",
	field.TypeIPAddr: "IPADDR", field.TypeIPNet: "IPNET", field.TypeRelTime: "RELTIME", field.TypeAbsTime: "ABSTIME", field.TypeDyn: "DYN",
}

func (c *command) printFields(infos []fieldInfo, wide bool) error {
	w := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', 0)
	head := "FIELD\tTYPE\tSOURCES\tDESCRIPTION"
	if wide {
		head = "FIELD\tTYPE\tSOURCES\tEVENT TYPES\tDESCRIPTION"
	}
	fmt.Fprintln(w, head)
	for _, i := range infos {
		name := i.Name
		switch i.Argument {
		case "required":
			name += "[…]"
		case "optional":
			name += "[[…]]"
		}
		typ := i.Type
		if i.List {
			typ += " list"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t", name, typ, strings.Join(i.Sources, ","))
		if wide {
			events := "all"
			if i.EventTypes != nil {
				events = shorten(i.EventTypes, 4)
			}
			fmt.Fprintf(w, "%s\t", events)
		}
		fmt.Fprintln(w, strings.Join(append(notes(&i), i.Desc), " "))
	}
	return w.Flush()
}

// notes are what is special about a field, in brackets.
func notes(i *fieldInfo) []string {
	var notes []string
	for _, n := range []struct {
		on   bool
		text string
	}{
		{!i.Given, "[not given yet]"}, {i.Deprecated, "[deprecated]"}, {i.FilterOnly, "[conditions only]"}, {i.PrintOnly, "[outputs only]"},
	} {
		if n.on {
			notes = append(notes, n.text)
		}
	}
	return notes
}
