package fncmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/cmd/tiercel/rulecmd"
	"github.com/tiercel-project/tiercel/functions/builtin"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/spell"
	"github.com/tiercel-project/tiercel/runtime"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/store"
	"github.com/tiercel-project/tiercel/sensor"
)

// A deployed is what deploy prints about one function.
type deployed struct {
	Function string        `json:"function"`
	Applied  store.Applied `json:"applied,omitempty"`
	Revision uint64        `json:"revision,omitempty"`
	Mode     string        `json:"mode"`
	Module   string        `json:"module,omitempty"`
	Warnings []string      `json:"warnings,omitempty"`
}

func newDeploy(s cli.Streams, flags *connect.Flags) *cobra.Command {
	var files, ruleFiles []string
	var format cli.Format
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "deploy [-f FILE]... [DIR | SOURCE]",
		Short: "Check functions and store them for the runtimes to run",
		Long: "Check Function documents against their modules and store both. A new function begins with the events published from then on; a changed\n" +
			"one gets a new revision. DIR is a folder made by fn init, which is built first, or one of documents (default: here). SOURCE is a function\n" +
			"in JavaScript or TypeScript, which needs no building: its document is the YAML file of the same name beside it, or its export \"spec\".",
		Example: "  tiercel fn deploy isolate.js\n  tiercel fn deploy my-responder\n  tiercel fn deploy -f samples/functions/isolate-pod.yaml\n  tiercel fn deploy -f functions/ --dry-run",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && len(files) == 0 {
				args = []string{"."}
			}
			engine, err := sandbox.New(sandboxConfig(), nil)
			if err != nil {
				return err
			}
			defer engine.Close()
			d := newDeployer(engine)
			if d.Rules, err = ruleNames(s, ruleFiles); err != nil {
				return err
			}
			docs, err := collect(cmd, s, d, append(args, files...))
			if err != nil {
				return err
			}
			b, st, err := open(cmd.Context(), flags)
			if err != nil {
				return err
			}
			defer b.Close()
			d.Store = st
			return deploy(cmd, s, d, docs, dryRun, format)
		},
	}
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil, "file or directory of Function documents; may be given several times")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check only, store nothing")
	cmd.Flags().StringArrayVarP(&ruleFiles, "rules", "r", nil, "rules file or directory of the sensors: warn of triggers that name no rule of it; may be given several times")
	format.Flag(cmd, cli.Table, cli.JSON, cli.YAML)
	return cmd
}

// ruleNames returns the names of the rules in files; nil if there are no files, since nobody but the sensors knows theirs.
func ruleNames(s cli.Streams, files []string) (func() []string, error) {
	if len(files) == 0 {
		return nil, nil
	}
	set, err := rulecmd.Load(s, files, rules.Options{Provider: sensor.Provider()})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range set.Rules() {
		names = append(names, r.Name)
	}
	return func() []string { return names }, nil
}

// newDeployer returns a Deployer without a store, which compiles what it is given to see whether that works.
func newDeployer(engine *sandbox.Engine) *runtime.Deployer {
	return &runtime.Deployer{Builtin: builtin.Module, Pack: engine.Pack, Compile: func(ctx context.Context, module []byte) error {
		m, err := engine.Compile(ctx, module)
		if err != nil {
			return err
		}
		return m.Close()
	}}
}

// sandboxConfig keeps compiled modules in the user's cache, if there is one.
func sandboxConfig() sandbox.Config {
	cfg := sandbox.DefaultConfig()
	if dir, err := os.UserCacheDir(); err == nil {
		dir = filepath.Join(dir, "tiercel", "modules")
		if os.MkdirAll(dir, 0o700) == nil {
			cfg.CacheDir = dir
		}
	}
	return cfg
}

// collect reads the documents of all paths, and builds those that are source folders.
func collect(cmd *cobra.Command, s cli.Streams, d *runtime.Deployer, paths []string) ([]*function.Document, error) {
	var docs []*function.Document
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return nil, missing(p, err)
		}
		if f := filepath.Join(p, documentFile); isFile(f) && isSource(p) {
			ds, err := readDocs(p)
			if err != nil {
				return nil, report(s, err)
			}
			if err := build(cmd, s, p, ds); err != nil {
				return nil, err
			}
			docs = append(docs, ds...)
			continue
		}
		ds, err := d.Documents(cmd.Context(), p)
		if err != nil {
			return nil, report(s, err)
		}
		docs = append(docs, ds...)
	}
	if len(docs) == 0 {
		return nil, &cli.Error{
			Err:  fmt.Errorf("%s: there is no function in it", strings.Join(paths, ", ")),
			Hint: "a function is a document (kind: Function) or a source in JavaScript that exports spec; tiercel fn init NAME makes one",
		}
	}
	return docs, nil
}

// missing is the error of a path that there is not, with the nearest name beside it.
func missing(path string, err error) error {
	e := &cli.Error{Err: err, Hint: "give a file or folder; tiercel fn init NAME makes one"}
	entries, _ := os.ReadDir(filepath.Dir(path)) // what is to be told is that there is no path
	names := make([]string, len(entries))
	for i, f := range entries {
		names[i] = f.Name()
	}
	if near := spell.Nearest(filepath.Base(path), names); near != "" && errors.Is(err, fs.ErrNotExist) {
		e.Hint = "did you mean " + filepath.Join(filepath.Dir(path), near) + "?"
	}
	return e
}

// deploy stores the documents, all or none: each is checked before the first is stored.
func deploy(cmd *cobra.Command, s cli.Streams, d *runtime.Deployer, docs []*function.Document, dryRun bool, format cli.Format) error {
	var out []deployed
	bad := false
	for _, doc := range docs {
		_, _, warnings, err := d.Check(cmd.Context(), doc)
		if err != nil {
			bad = true
			_ = report(s, err)
		}
		o := deployed{Function: name(doc), Mode: string(doc.Spec.Mode)}
		for _, w := range warnings {
			o.Warnings = append(o.Warnings, w.Error())
			fmt.Fprintf(s.Err, "warning: %v\n", w)
		}
		out = append(out, o)
	}
	if bad {
		return cli.ErrSilent
	}
	for i, doc := range docs {
		if dryRun {
			continue
		}
		origin, err := filepath.Abs(doc.File())
		if err != nil {
			return err
		}
		done, err := d.Deploy(cmd.Context(), doc, store.ByCLI, origin)
		if err != nil {
			return explain(cmd.Context(), d.Store, err, name(doc))
		}
		out[i].Applied, out[i].Revision, out[i].Module = done.Applied, done.Entry.Revision, done.Entry.Module
	}
	if format != cli.Table {
		return format.Print(s.Out, out)
	}
	for _, o := range out {
		if dryRun {
			fmt.Fprintf(s.Out, "%s is in order (mode %s)\n", o.Function, o.Mode)
			continue
		}
		fmt.Fprintf(s.Out, "%s %s, revision %d, mode %s\n", o.Function, o.Applied, o.Revision, o.Mode)
	}
	return nil
}

func name(d *function.Document) string {
	if d.Metadata.Namespace == function.DefaultTenant {
		return d.Metadata.Name
	}
	return d.Metadata.Namespace + "/" + d.Metadata.Name
}
