package fncmd

import (
	"fmt"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

func newLogs(s cli.Streams, flags *connect.Flags) *cobra.Command {
	var follow bool
	var since time.Duration
	var number int
	var format cli.Format
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print what a function logged, and how it ended",
		Long: "Print the log lines of a function, each with when its invocation ended and its id, and for each invocation how it ended. Lines are stored\n" +
			"with the action when it has ended.",
		Example: "  tiercel fn logs -f isolate-pod\n  tiercel fn logs isolate-pod --since 24h",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if number < 0 || since <= 0 {
				return cli.Usagef("--since and --number: give positive values")
			}
			b, st, err := open(cmd.Context(), flags)
			if err != nil {
				return err
			}
			defer b.Close()
			if _, err := st.Get(cmd.Context(), token(args[0])); err != nil && !follow {
				return explain(cmd.Context(), st, err, args[0])
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM) // the usual end, so no error
			defer stop()
			left := number
			print := func(a *journal.Action) bool {
				if format == cli.JSON {
					err = format.Print(s.Out, logged(a))
				} else {
					printLog(s, a)
				}
				left--
				return err == nil && left != 0
			}
			j, subject, from := journal.New(journal.DefaultConfig(), b), "tiercel.actions.*."+token(args[0])+".*", time.Now().Add(-since)
			if follow {
				if ferr := j.Follow(ctx, subject, from, print); ferr != nil {
					return ferr
				}
				return err
			}
			if rerr := j.Actions(ctx, subject, from, print); rerr != nil {
				return rerr
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "wait for more")
	f.DurationVar(&since, "since", time.Hour, "begin with invocations that ended this long ago")
	f.IntVarP(&number, "number", "n", 0, "end after this many invocations; 0 means no end")
	format.Flag(cmd, "text", cli.JSON)
	return cmd
}

// A log is what fn logs -o json prints of an invocation.
type log struct {
	Time       time.Time         `json:"time"`
	Invocation string            `json:"invocation"`
	Event      string            `json:"event,omitempty"`
	Rule       string            `json:"rule,omitempty"`
	Mode       string            `json:"mode,omitempty"`
	Outcome    journal.Outcome   `json:"outcome"`
	Reason     string            `json:"reason,omitempty"`
	Text       string            `json:"text,omitempty"`
	Log        []journal.LogLine `json:"log,omitempty"`
	Dropped    int               `json:"logDropped,omitempty"`
}

func logged(a *journal.Action) log {
	return log{
		Time: ended(a), Invocation: a.ID, Event: a.Event.ID, Rule: a.Event.Rule, Mode: string(a.Mode), Outcome: a.Outcome, Reason: a.End.Reason, Text: a.End.Text,
		Log: a.End.Log, Dropped: a.End.Dropped,
	}
}

func ended(a *journal.Action) time.Time {
	if a.Ended.IsZero() {
		return a.Sealed
	}
	return a.Ended
}

func printLog(s cli.Streams, a *journal.Action) {
	head := ended(a).Local().Format("2006-01-02 15:04:05.000") + "  " + a.ID + "  "
	for _, l := range a.End.Log {
		fmt.Fprintf(s.Out, "%s%-5s  %s\n", head, l.Level, printable(l.Text))
	}
	if a.End.Dropped > 0 {
		fmt.Fprintf(s.Out, "%s%-5s  %d more lines did not fit: limits.log in the document raises that\n", head, "-", a.End.Dropped)
	}
	end := string(a.Outcome)
	if a.End.Reason != "" {
		end += " (" + a.End.Reason + ")"
	}
	if a.Skips != nil {
		end += fmt.Sprintf(", %d events", a.Skips.Count)
	}
	if a.End.Text != "" {
		end += ": " + printable(a.End.Text)
	}
	fmt.Fprintf(s.Out, "%s%-5s  %s\n", head, "=", end)
}

// printable replaces what a terminal would act on: texts of events are the attacker's.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
