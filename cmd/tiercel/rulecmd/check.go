package rulecmd

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/load"
)

func (c *command) check() *cobra.Command {
	var format cli.Format
	var strict bool
	cmd := &cobra.Command{
		Use:   "check [FILE|DIR…]",
		Short: "Report errors and warnings in rules files",
		Long: "Load rules files in order, as one rule set, and report what is wrong with them, where, and what was probably meant.\n\n" +
			"Errors end with exit code 1; with --strict warnings do so too. -o json prints Falco's document falco_load_results.",
		Example: "  tiercel rule check /etc/falco/falco_rules.yaml my_rules.yaml\n  tiercel rule check --strict -o json rules/",
		RunE: func(_ *cobra.Command, args []string) error {
			rep := c.report(args)
			if err := c.printReport(rep, format); err != nil {
				return err
			}
			if !rep.OK() || strict && len(rep.Warnings()) > 0 {
				return cli.ErrSilent
			}
			return nil
		},
	}
	format.Flag(cmd, cli.Table, cli.JSON)
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings are errors")
	return cmd
}

// report loads the files at paths. A file that cannot be read is a problem in the report.
func (c *command) report(paths []string) *rules.Report {
	var in []rules.File
	rep := &rules.Report{}
	if len(paths) == 0 {
		in, _ = files(nil) // embedded
	}
	for _, path := range paths {
		read, err := rules.ReadFiles([]string{path})
		if err != nil {
			p := &load.Problem{
				PosError: load.PosError{File: path, Err: err}, Code: load.ErrFileRead,
				Context: []load.Context{{ItemType: "rules content", File: path}},
			}
			rep.Files = append(rep.Files, &load.FileResult{Name: path, Errors: []*load.Problem{p}})
			continue
		}
		in = append(in, read...)
	}
	_, loaded := rules.Load(in, rules.Options{Provider: c.provider, Lint: true})
	rep.Files = append(rep.Files, loaded.Files...)
	return rep
}

func (c *command) printReport(rep *rules.Report, format cli.Format) error {
	if format != cli.JSON {
		return rep.WriteText(c.Out)
	}
	b, err := json.Marshal(rep)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Out, "%s\n", b)
	return err
}
