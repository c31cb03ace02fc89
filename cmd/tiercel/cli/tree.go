package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/tiercel-project/tiercel/rules/spell"
)

// Strict makes every command of the tree below root end with ExitUsage when its arguments or flags are wrong, and makes commands that only hold
// others refuse names they do not hold, with the nearest one as a hint.
func Strict(root *cobra.Command) {
	root.SetFlagErrorFunc(flagError)
	if root.HasSubCommands() && !root.Runnable() {
		root.Args = cobra.ArbitraryArgs
		root.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		}
	} else if check := root.Args; check != nil {
		root.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				if len(args) > 0 && cmd.HasAvailableSubCommands() {
					return unknownCommand(cmd, args[0])
				}
				return &Error{Err: err, Hint: "usage: " + cmd.UseLine(), Code: ExitUsage}
			}
			return nil
		}
	}
	for _, c := range root.Commands() {
		Strict(c)
	}
}

// flagError names the flag that is nearest to one there is not. Go's own tools have long flags with one hyphen.
func flagError(cmd *cobra.Command, err error) error {
	e := &Error{Err: err, Hint: cmd.CommandPath() + " --help lists the flags", Code: ExitUsage}
	name, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		if _, name, ok = strings.Cut(err.Error(), "' in -"); !ok || len(name) < 2 {
			return e
		}
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if near := spell.Nearest(name, names); near != "" {
		e.Hint = "did you mean --" + near + "?"
	}
	return e
}

func unknownCommand(cmd *cobra.Command, name string) error {
	var names []string
	near := ""
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
		if slices.Contains(c.SuggestFor, name) {
			near = c.Name()
		}
	}
	e := &Error{Err: fmt.Errorf("%s has no command %q", cmd.CommandPath(), name), Code: ExitUsage}
	if near == "" {
		near = spell.Nearest(name, names)
	}
	if near != "" {
		e.Hint = "did you mean " + cmd.CommandPath() + " " + near + "?"
	} else {
		e.Hint = cmd.CommandPath() + " --help lists the commands"
	}
	return e
}
