package fncmd

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/guard"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// A shown is a function as list and get print it.
type shown struct {
	Name      string          `json:"name"` // tenant/name
	UID       string          `json:"uid"`
	Mode      string          `json:"mode"`
	Suspended bool            `json:"suspended"`
	Revision  uint64          `json:"revision"`
	ManagedBy store.Manager   `json:"managedBy"`
	Origin    string          `json:"origin,omitempty"`
	Module    string          `json:"module"`
	Version   string          `json:"version,omitempty"` // of the module
	Created   time.Time       `json:"created"`
	Updated   time.Time       `json:"updated"`
	Halts     []guard.Halt    `json:"halts,omitempty"`
	Document  json.RawMessage `json:"document"`

	doc *function.Document
}

func show(e *store.Entry) (*shown, error) {
	doc, err := e.Parse()
	if err != nil {
		return nil, fmt.Errorf("function %s: %w", e.Key(), err)
	}
	v := &shown{
		Name: e.ID.Tenant + "/" + e.ID.Name, UID: e.ID.UID, Mode: string(doc.Spec.Mode), Suspended: e.Suspended || doc.Spec.Suspend, Revision: e.Revision,
		ManagedBy: e.ManagedBy, Origin: e.Origin, Module: e.Module, Created: e.Created, Updated: e.Updated, Document: e.Document, doc: doc,
	}
	if e.Manifest != nil {
		v.Version = e.Manifest.Version
	}
	return v, nil
}

func newList(s cli.Streams, flags *connect.Flags) *cobra.Command {
	var format cli.Format
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the functions",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, st, err := open(cmd.Context(), flags)
			if err != nil {
				return err
			}
			defer b.Close()
			entries, err := st.List(cmd.Context())
			if err != nil {
				return err
			}
			all := make([]*shown, 0, len(entries))
			for _, e := range entries {
				v, err := show(e)
				if err != nil {
					return err
				}
				all = append(all, v)
			}
			if format != cli.Table && format != cli.Wide {
				return format.Print(s.Out, all)
			}
			return table(s, all, format == cli.Wide)
		},
	}
	format.Flag(cmd, cli.Table, cli.Wide, cli.JSON, cli.YAML)
	return cmd
}

func table(s cli.Streams, all []*shown, wide bool) error {
	w := tabwriter.NewWriter(s.Out, 0, 8, 2, ' ', 0)
	head := "NAME\tMODE\tSTATE\tREVISION\tMANAGED BY\tMODULE\tUPDATED"
	if wide {
		head += "\tUID\tORIGIN"
	}
	fmt.Fprintln(w, head)
	for _, v := range all {
		state := "active"
		if v.Suspended {
			state = "suspended"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s", name(v.doc), v.Mode, state, v.Revision, v.ManagedBy, v.doc.Spec.Module, v.Updated.Local().Format(time.DateTime))
		if wide {
			fmt.Fprintf(w, "\t%s\t%s", v.UID, v.Origin)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func newGet(s cli.Streams, flags *connect.Flags) *cobra.Command {
	var format cli.Format
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Show a function",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, st, err := open(cmd.Context(), flags)
			if err != nil {
				return err
			}
			defer b.Close()
			e, err := st.Get(cmd.Context(), token(args[0]))
			if err != nil {
				return explain(cmd.Context(), st, err, args[0])
			}
			v, err := show(e)
			if err != nil {
				return err
			}
			state, err := b.KeyValue(cmd.Context(), bus.BucketState)
			if err != nil {
				return err
			}
			if v.Halts, err = guard.NewHalts(state).Of(cmd.Context(), e.Key()); err != nil {
				return err
			}
			if format != cli.Table {
				return format.Print(s.Out, v)
			}
			return describe(s, v)
		},
	}
	format.Flag(cmd, cli.Table, cli.JSON, cli.YAML)
	return cmd
}

func describe(s cli.Streams, v *shown) error {
	w := tabwriter.NewWriter(s.Out, 0, 8, 2, ' ', 0)
	line := func(key, format string, args ...any) { fmt.Fprintf(w, "%s:\t%s\n", key, fmt.Sprintf(format, args...)) }
	line("name", "%s", v.Name)
	line("mode", "%s", v.Mode)
	line("suspended", "%t", v.Suspended)
	line("revision", "%d of %s, %s", v.Revision, v.UID, v.Updated.Local().Format(time.DateTime))
	line("managed by", "%s (%s)", v.ManagedBy, v.Origin)
	line("module", "%s %s", v.doc.Spec.Module, v.Version)
	line("digest", "%s", v.Module)
	for _, h := range v.Halts {
		if h.UID == v.UID && h.Revision == v.Revision {
			line("halted", "for rule %q since %s crashed at %s (tiercel fn resume)", h.Rule, h.Invocation, h.Time.Local().Format(time.DateTime))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(s.Out, "document:")
	var doc strings.Builder
	if err := cli.YAML.Print(&doc, v.Document); err != nil {
		return err
	}
	for l := range strings.Lines(doc.String()) {
		fmt.Fprint(s.Out, "  ", l)
	}
	return nil
}

func newDelete(s cli.Streams, flags *connect.Flags) *cobra.Command {
	return &cobra.Command{
		Use:        "delete NAME...",
		SuggestFor: []string{"undeploy", "remove", "rm"},
		Short:      "Delete functions",
		Long: "Delete functions. What they did stays, and so do reverts that are still to come. A function of the same name that is deployed later is\n" +
			"another one.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, st, err := open(cmd.Context(), flags)
			if err != nil {
				return err
			}
			defer b.Close()
			for _, a := range args {
				if _, err := st.Delete(cmd.Context(), token(a), store.ByCLI); err != nil {
					return explain(cmd.Context(), st, err, a)
				}
				fmt.Fprintf(s.Out, "%s deleted\n", a)
			}
			return nil
		},
	}
}

func newSuspend(s cli.Streams, flags *connect.Flags, suspend bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "suspend NAME...",
		Short: "Have functions take no events",
		Long:  "Have functions take no events until they are resumed. Events wait in the stream; those older than maxAge then end as expired.",
		Args:  cobra.MinimumNArgs(1),
	}
	if !suspend {
		cmd.Use, cmd.Short = "resume NAME...", "Have suspended functions take events again"
		cmd.Long = "Have suspended functions take events again, and clear what holds a revision back from a rule after a crash."
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, st, err := open(cmd.Context(), flags)
		if err != nil {
			return err
		}
		defer b.Close()
		state, err := b.KeyValue(cmd.Context(), bus.BucketState)
		if err != nil {
			return err
		}
		for _, a := range args {
			e, err := st.Suspend(cmd.Context(), token(a), suspend)
			if err != nil {
				return explain(cmd.Context(), st, err, a)
			}
			done := "suspended"
			if !suspend {
				done = "resumed"
				if err := guard.NewHalts(state).Clear(cmd.Context(), e.Key()); err != nil {
					return err
				}
				if doc, err := e.Parse(); err == nil && doc.Spec.Suspend {
					fmt.Fprintf(s.Err, "warning: the document of %s says suspend: true, which still holds\n", a)
				}
			}
			fmt.Fprintf(s.Out, "%s %s\n", a, done)
		}
		return nil
	}
	return cmd
}
