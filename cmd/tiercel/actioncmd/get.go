package actioncmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

func newGet(s cli.Streams, flags *connect.Flags) *cobra.Command {
	var format cli.Format
	cmd := &cobra.Command{
		Use:   "get ID",
		Short: "Show an action: from the event to what it changed",
		Long:  "Show an action as a timeline, from the kernel's event to what it changed; the plan of a dry run is shown as a difference.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, j, err := open(cmd.Context(), flags)
			if err != nil {
				return err
			}
			defer b.Close()
			a, err := find(cmd.Context(), j, args[0])
			if err != nil {
				return err
			}
			if format != cli.Table {
				return format.Print(s.Out, a)
			}
			return Describe(cmd.Context(), s.Out, b, j, a)
		},
	}
	format.Flag(cmd, cli.Table, cli.JSON, cli.YAML)
	return cmd
}

// Describe prints an action for people, with the reverts that are on record.
func Describe(ctx context.Context, w io.Writer, b *bus.Bus, j *journal.Journal, a *journal.Action) error {
	rs, err := reverts(ctx, b, j, a)
	if err != nil {
		return err
	}
	describe(w, a, rs)
	return nil
}

// describe prints an action and its reverts for people.
func describe(w io.Writer, a *journal.Action, reverts []*journal.Action) {
	fmt.Fprintf(w, "action    %s\n", a.ID)
	fmt.Fprintf(w, "function  %s/%s, revision %d, %s\n", a.Function.Tenant, a.Function.Name, a.Pins.Revision, a.Mode)
	if a.Revert != nil {
		fmt.Fprintf(w, "reverts   %s, asked for by %s\n", a.Revert.Invocation, safe(a.Revert.By))
	}
	if m := a.Event.Manual; m != nil {
		fmt.Fprintf(w, "by hand   asked for by %s\n", safe(m.By))
	}
	fmt.Fprintf(w, "event     %s, rule %q, %s%s\n", a.Event.ID, a.Event.Rule, strings.ToLower(a.Event.Priority), eventTime(a))
	fmt.Fprintf(w, "target    %s\n", targetLine(a))
	fmt.Fprintf(w, "outcome   %s\n", outcomeLine(a))
	if a.Skips != nil {
		fmt.Fprintf(w, "events    %d from %s to %s: %s\n", a.Skips.Count, clock(a.Skips.First), clock(a.Skips.Last), strings.Join(a.Skips.Events, " "))
		return
	}
	fmt.Fprintln(w)
	timeline(w, a)
	plan(w, a)
	if len(a.End.Log) > 0 {
		fmt.Fprintln(w, "\nlog of the function:")
		for _, l := range a.End.Log {
			fmt.Fprintf(w, "  %-5s  %s\n", l.Level, safe(l.Text))
		}
	}
	if len(a.End.Data) > 0 && string(a.End.Data) != "null" {
		fmt.Fprintf(w, "\ndata: %s\n", safe(string(a.End.Data)))
	}
	if kept := artifacts(a); len(kept) > 0 {
		fmt.Fprintln(w, "\nkept:")
		for _, q := range kept {
			fmt.Fprintf(w, "  tiercel action artifact %s %s  (%d bytes)\n", a.ID, q.Name, q.Size)
		}
	}
	undo(w, a, reverts)
}

func targetLine(a *journal.Action) string {
	t := a.Event.Target
	var parts []string
	for _, p := range []struct{ name, value string }{{"pod", pod(a)}, {"container", t.Container}, {"image", t.Image}, {"node", t.Node}} {
		if p.value != "" {
			parts = append(parts, p.name+" "+safe(p.value))
		}
	}
	if t.PID != 0 {
		parts = append(parts, fmt.Sprintf("pid %d", t.PID))
	}
	return strings.Join(parts, ", ")
}

func pod(a *journal.Action) string {
	t := a.Event.Target
	if t.Pod == "" {
		return t.Namespace
	}
	if t.PodUID != "" {
		return t.Namespace + "/" + t.Pod + " (" + t.PodUID + ")"
	}
	return t.Namespace + "/" + t.Pod
}

func outcomeLine(a *journal.Action) string {
	s := string(a.Outcome)
	if a.End.Reason != "" {
		s += " (" + a.End.Reason + ")"
	}
	if a.End.Text != "" {
		s += ": " + safe(a.End.Text)
	}
	if a.Waiting != nil {
		s += fmt.Sprintf(": call %d failed, next try at %s: %s", a.Waiting.Step, clock(a.Waiting.Until), safe(a.Waiting.Cause))
	}
	return s
}

// eventTime is when the event was, where the timeline does not say it.
func eventTime(a *journal.Action) string {
	if a.Event.Manual == nil || a.Event.Time.IsZero() {
		return ""
	}
	return ", of " + clock(a.Event.Time)
}

func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }

// timeline prints what happened when, counted from the kernel's event, or from when somebody had the function run on it.
func timeline(w io.Writer, a *journal.Action) {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	add := func(at time.Time, format string, args ...any) {
		if !at.IsZero() {
			lines = append(lines, line{at, fmt.Sprintf(format, args...)})
		}
	}
	if a.Revert == nil {
		if m := a.Event.Manual; m != nil {
			add(m.Asked, "asked for at %s", clock(m.Asked))
		} else {
			add(a.Event.Time, "kernel event at %s", a.Event.Time.Local().Format("2006-01-02 15:04:05.000000"))
			add(a.Event.Published, "published on %s", a.Event.Address)
		}
		add(a.Event.Started, "taken up")
	}
	for _, t := range a.Attempts {
		text := fmt.Sprintf("attempt %d on %s: %s", t.Number, t.Runtime, t.Decision)
		if t.Ended != "" && t.Ended != "ended" {
			text += " (" + safe(t.Ended) + ")"
		}
		at := t.Time
		if len(a.Calls) > 0 && t.Number == 1 && a.Calls[0].Start.Before(at) {
			at = a.Calls[0].Start // the claim was written with the first intent
		}
		add(at, "%s", text)
	}
	for _, c := range a.Calls {
		add(c.Start, "%s", callLine(&c))
	}
	add(a.Ended, "%s", a.Outcome)
	add(a.Sealed, "sealed")
	sort.SliceStable(lines, func(i, k int) bool { return lines[i].at.Before(lines[k].at) })
	if len(lines) == 0 {
		return
	}
	for _, l := range lines {
		fmt.Fprintf(w, "%12s  %s\n", "+"+short(l.at.Sub(lines[0].at)), l.text)
	}
}

func callLine(c *journal.Call) string {
	s := fmt.Sprintf("%d. %s", c.Step, c.Op)
	if c.Prepared != nil && c.Prepared.Summary != "" {
		s = fmt.Sprintf("%d. %s", c.Step, safe(c.Prepared.Summary))
	}
	switch {
	case c.Done.IsZero():
		return s + ": begun, its result is not on record"
	case c.Error != nil:
		s += fmt.Sprintf(": %s: %s", c.Error.Code, safe(c.Error.Text))
	case c.Found:
		s += ": found done"
	case c.Rehearsed:
		s += ": rehearsed"
	case c.Object != "":
		s += ": " + safe(c.Object)
	}
	s += fmt.Sprintf(" (%s)", short(c.Done.Sub(c.Start)))
	if c.Tries > 0 {
		s += fmt.Sprintf(", try %d", c.Tries+1)
	}
	if c.Note != "" {
		s += "; " + safe(c.Note)
	}
	return s
}

// plan prints what a dry run would have changed.
func plan(w io.Writer, a *journal.Action) {
	if a.Mode != capability.DryRun {
		return
	}
	first := true
	for _, c := range a.Calls {
		if c.Prepared == nil || c.Error != nil {
			continue
		}
		if first {
			fmt.Fprintln(w, "\nplan (nothing of it was done):")
			first = false
		}
		fmt.Fprintf(w, "  %d. %s\n", c.Step, safe(c.Prepared.Summary))
		for _, l := range difference(yamlLines(c.Before), yamlLines(c.After)) {
			fmt.Fprintf(w, "     %s\n", safe(l))
		}
	}
}

func yamlLines(object json.RawMessage) []string {
	if len(object) == 0 || string(object) == "null" {
		return nil
	}
	var b strings.Builder
	if err := cli.YAML.Print(&b, object); err != nil {
		return []string{string(object)}
	}
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}

// undo prints what can be undone, and what has been.
func undo(w io.Writer, a *journal.Action, reverts []*journal.Action) {
	effects := a.Effects()
	if len(effects) > 0 && !undone(reverts) {
		fmt.Fprintf(w, "\ncan be undone with tiercel action revert %s:\n", a.ID)
		for _, c := range effects {
			fmt.Fprintf(w, "  %s", safe(c.Undo().Summary))
			if !c.RevertAt.IsZero() {
				fmt.Fprintf(w, " (by itself at %s)", clock(c.RevertAt))
			}
			fmt.Fprintln(w)
		}
	}
	for _, c := range a.Calls {
		if u := c.Undo(); u != nil && !u.Reversible() && u.Irreversible != "" {
			fmt.Fprintf(w, "\ncannot be undone: %s: %s\n", c.Op, safe(u.Irreversible))
		}
	}
	for _, r := range reverts {
		fmt.Fprintf(w, "\nrevert %s by %s at %s: %s\n", r.ID, safe(r.Revert.By), clock(r.Ended), outcomeLine(r))
	}
}

func undone(reverts []*journal.Action) bool {
	return len(reverts) > 0 && reverts[len(reverts)-1].Outcome == journal.Succeeded
}
