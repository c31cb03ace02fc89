package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/tiercel-project/tiercel/rules/spell"
)

// Strict makes every command of the tree below root end with ExitUsage when its arguments are wrong, and makes commands that only hold
// others refuse names they do not hold, with the nearest one as a hint.
func Strict(root *cobra.Command) {
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
				return &Error{Err: err, Hint: "usage: " + cmd.UseLine(), Code: ExitUsage}
			}
			return nil
		}
	}
	for _, c := range root.Commands() {
		Strict(c)
	}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	e := &Error{Err: fmt.Errorf("%s has no command %q", cmd.CommandPath(), name), Code: ExitUsage}
	if near := spell.Nearest(name, names); near != "" {
		e.Hint = "did you mean " + cmd.CommandPath() + " " + near + "?"
	} else {
		e.Hint = cmd.CommandPath() + " --help lists the commands"
	}
	return e
}
