package actioncmd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

type listOptions struct {
	function, status, namespace string
	since                       time.Duration
	number                      int
	format                      cli.Format
}

func newList(s cli.Streams, flags *connect.Flags) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List actions, the newest last",
		Example: "  tiercel action list\n  tiercel action list --function isolate-pod --status failed --since 24h\n  tiercel action list --status pending -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.status != "" && !journal.Outcome(o.status).Valid() {
				return cli.Usagef("--status: %q is none of %v", o.status, journal.Outcomes)
			}
			b, j, err := open(cmd.Context(), flags)
			if err != nil {
				return err
			}
			defer b.Close()
			all, err := list(cmd.Context(), j, &o)
			if err != nil {
				return err
			}
			if o.format != cli.Table && o.format != cli.Wide {
				return o.format.Print(s.Out, all)
			}
			return table(s, all, o.format == cli.Wide)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.function, "function", "", "only this function's: NAME or TENANT/NAME")
	f.StringVar(&o.status, "status", "", "only those that ended so; pending: that have not ended")
	f.StringVar(&o.namespace, "namespace", "", `only those about this namespace; "-" is the host`)
	f.DurationVar(&o.since, "since", time.Hour, "only those stored this long ago at most")
	f.IntVarP(&o.number, "number", "n", 100, "at most this many, the newest; 0: all")
	statuses := make([]string, 0, len(journal.Outcomes))
	for _, x := range journal.Outcomes {
		statuses = append(statuses, string(x))
	}
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(statuses, cobra.ShellCompDirectiveNoFileComp))
	o.format.Flag(cmd, cli.Table, cli.Wide, cli.JSON, cli.YAML)
	return cmd
}

func token(name string) string {
	if tenant, n, ok := strings.Cut(name, "/"); ok {
		return function.Token(tenant, n)
	}
	return function.Token(function.DefaultTenant, name)
}

// list returns what the options select, the newest last: those that run after those that have ended.
func list(ctx context.Context, j *journal.Journal, o *listOptions) ([]*journal.Action, error) {
	all := []*journal.Action{}
	fn, status, ns := "*", "*", "*"
	if o.function != "" {
		fn = token(o.function)
	}
	if o.status != "" {
		status = o.status
	}
	switch o.namespace {
	case "":
	case "-":
		ns = bus.HostToken
	default:
		ns = bus.NamespaceToken(o.namespace)
	}
	if o.status != string(journal.Pending) {
		err := j.Actions(ctx, "tiercel.actions."+ns+"."+fn+"."+status, time.Now().Add(-o.since), func(a *journal.Action) bool {
			all = append(all, a)
			if o.number > 0 && len(all) > 2*o.number {
				all = slices.Clone(all[len(all)-o.number:])
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	if o.status == "" || o.status == string(journal.Pending) {
		err := j.Running(ctx, "tiercel.journal."+fn+".>", func(a *journal.Action) bool {
			if ns == "*" || bus.NamespaceToken(a.Event.Target.Namespace) == ns {
				all = append(all, a)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	if o.number > 0 && len(all) > o.number {
		all = all[len(all)-o.number:]
	}
	return all, nil
}

func table(s cli.Streams, all []*journal.Action, wide bool) error {
	w := tabwriter.NewWriter(s.Out, 0, 8, 2, ' ', 0)
	head := "ID\tTIME\tFUNCTION\tOUTCOME\tRULE\tTARGET\tEFFECTS\tTOOK"
	if wide {
		head += "\tEVENT\tTEXT"
	}
	fmt.Fprintln(w, head)
	for _, a := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s", a.ID, when(a).Local().Format(time.DateTime), a.Function.Name, outcome(a), safe(a.Event.Rule), target(a), effects(a), took(a))
		if wide {
			fmt.Fprintf(w, "\t%s\t%s", a.Event.ID, safe(a.End.Text))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func when(a *journal.Action) time.Time {
	if !a.Ended.IsZero() {
		return a.Ended
	}
	return a.Event.Started
}

// outcome is how an action ended, with what qualifies it.
func outcome(a *journal.Action) string {
	o := string(a.Outcome)
	switch {
	case a.Skips != nil:
		return fmt.Sprintf("%s ×%d (%s)", o, a.Skips.Count, a.Skips.Reason)
	case a.Waiting != nil:
		return o + " until " + a.Waiting.Until.Local().Format(time.TimeOnly)
	case a.Mode == "dryRun":
		return o + " (dry run)"
	}
	return o
}

func target(a *journal.Action) string {
	t := a.Event.Target
	if t.Namespace != "" {
		return safe(t.Namespace + "/" + t.Pod)
	}
	return safe(t.Node)
}

func effects(a *journal.Action) int {
	n := 0
	for _, c := range a.Calls {
		if c.Effect != "" && c.Error == nil && !c.Done.IsZero() {
			n++
		}
	}
	return n
}

// took is the time from the kernel's event, or from when somebody had the function run on it, to the first effect, or to the end if
// there was none.
func took(a *journal.Action) string {
	began := a.Event.Time
	if m := a.Event.Manual; m != nil {
		began = m.Asked
	}
	end := a.FirstEffect()
	if end.IsZero() {
		end = a.Ended
	}
	if a.Revert != nil || end.IsZero() || began.IsZero() || end.Before(began) {
		return ""
	}
	return short(end.Sub(began))
}

func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// safe makes one printable line of text that came with an event: it is the attacker's.
func safe(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '\ufffd'
		}
		return r
	}, s)
}
