// Package rulecmd holds `tiercel rule`: checking, listing, testing and explaining rules, none of which needs a kernel, a bus or root.
package rulecmd

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/k8saudit"
	samplerules "github.com/tiercel-project/tiercel/samples/rules"
)

// A command is what the subcommands share.
type command struct {
	cli.Streams
	provider rules.Provider
}

// New returns the command `rule`. provider says what events and fields the system call source gives.
func New(s cli.Streams, provider rules.Provider) *cobra.Command {
	c := &command{Streams: s, provider: withAudit(provider)}
	cmd := &cobra.Command{
		Use:   "rule",
		Short: "Check, list, test and explain rules",
		Long: "Check, list, test and explain rules in Falco's language. Where no rules files are named, the rules that come with Tiercel are\n" +
			"meant. A directory stands for the .yaml and .yml files in it, sorted by name.",
	}
	cmd.AddCommand(c.check(), c.list(), c.fields(), c.events(), c.eval(), c.test(), c.explain())
	return cmd
}

// withAudit adds to p what audit events give.
func withAudit(p rules.Provider) rules.Provider {
	event, value := p.Event, p.Field
	return rules.Provider{
		Event: func(source string, t field.EventType) bool {
			if source == k8saudit.RuleSource {
				return t == field.EventPluginevent
			}
			return event == nil || event(source, t)
		},
		Field: func(source string, ref *field.Ref) bool {
			if source == k8saudit.RuleSource {
				return k8saudit.Given(ref)
			}
			return value == nil || value(source, ref)
		},
	}
}

// A sourceFlag is the value of the flag --source: an event source of rules, or empty.
type sourceFlag string

// Set implements pflag.Value.
func (s *sourceFlag) Set(text string) error {
	if text != "" && !slices.Contains(ruleSources, text) {
		return fmt.Errorf("%q is none of %s", text, strings.Join(ruleSources, ", "))
	}
	*s = sourceFlag(text)
	return nil
}

// String implements pflag.Value.
func (s *sourceFlag) String() string { return string(*s) }

// Type implements pflag.Value.
func (s *sourceFlag) Type() string { return "source" }

// files reads the rules files named, or the embedded ones if none is.
func files(paths []string) ([]rules.File, error) {
	if len(paths) == 0 {
		return rules.ReadFS(samplerules.FS)
	}
	fs, err := rules.ReadFiles(paths)
	if err != nil {
		return nil, readError(err)
	}
	return fs, nil
}

// readError adds a hint to an error of reading rules files.
func readError(err error) error {
	e := &cli.Error{Err: err}
	if errors.Is(err, fs.ErrNotExist) {
		e.Hint = "name rules files or directories; without any, the embedded rules are meant"
	}
	return e
}

// load is Load.
func (c *command) load(paths []string, opts rules.Options) (*rules.Set, error) {
	return Load(c.Streams, paths, opts)
}

// Load loads the rules files named, or the embedded ones if none is. If they have errors it prints them and returns cli.ErrSilent.
func Load(s cli.Streams, paths []string, opts rules.Options) (*rules.Set, error) {
	in, err := files(paths)
	if err != nil {
		return nil, err
	}
	set, rep := rules.Load(in, opts)
	if set == nil {
		for _, p := range rep.Errors() {
			fmt.Fprint(s.Err, p.Text("error"))
		}
		return nil, cli.ErrSilent
	}
	return set, nil
}
