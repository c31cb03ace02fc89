package fncmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/builtin"
	"github.com/tiercel-project/tiercel/functions/sdk/javascript"
	"github.com/tiercel-project/tiercel/runtime"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/testcase"
)

// casesFolder is where a function's folder has its cases.
const casesFolder = "testdata"

// A tester is one run of fn test.
type tester struct {
	s      cli.Streams
	engine *sandbox.Engine
	module string // instead of the folder's; may be empty
	match  *regexp.Regexp
	doc    *function.Document // built already: its module is taken; nil: the path is built
	update bool

	ran, failed int
}

func newTest(s cli.Streams, flags *connect.Flags) *cobra.Command {
	var module, pattern string
	var rec recording
	t := &tester{s: s}
	cmd := &cobra.Command{
		Use:   "test [DIR | SOURCE | CASE]...",
		Short: "Test functions on recorded events and answers",
		Long: "Build the function in DIR (default: here) and run it, in the sandbox and without a cluster, on each case in DIR/" + casesFolder + "/" + testcase.Pattern + ": an event,\n" +
			"the host's answers, and what is expected of it: its calls, its result, its log. SOURCE is a function in JavaScript; CASE one case.",
		Example: "  tiercel fn test\n  tiercel fn test --update my-responder\n  tiercel fn test --record 01M7XZKZHCF492A4RXKQ2R3AEJ my-responder",
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if t.match, err = regexp.Compile(pattern); err != nil {
				return cli.Usagef("--run: %w", err)
			}
			if len(args) == 0 {
				args = []string{"."}
			}
			t.module = module
			if t.engine, err = sandbox.New(sandboxConfig(), nil); err != nil {
				return err
			}
			defer t.engine.Close()
			if rec.action != "" {
				if len(args) != 1 {
					return cli.Usagef("--record makes a case for one function: give its folder")
				}
				return t.record(cmd.Context(), flags, args[0], rec)
			}
			for _, a := range args {
				if err := t.path(cmd.Context(), a); err != nil {
					return report(s, err)
				}
			}
			return t.summary()
		},
	}
	cmd.Flags().BoolVar(&t.update, "update", false, "make the cases expect what the function does now")
	cmd.Flags().StringVar(&pattern, "run", "", "run only the cases whose name matches this expression")
	cmd.Flags().StringVar(&module, "module", "", "test this module instead of the folder's: builtin:NAME or a file")
	cmd.Flags().StringVar(&rec.action, "record", "", "make a case from the action with this id, of a live or a dry run")
	cmd.Flags().StringVar(&rec.name, "name", "", "with --record: the case's name (default: from the rule)")
	return cmd
}

// path runs the cases of a folder, or one.
func (t *tester) path(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return missing(path, err)
	}
	where, files := path, []string{path}
	switch {
	case info.IsDir(), javascript.IsSource(path):
		dir := path
		if !info.IsDir() {
			dir = filepath.Dir(path)
		}
		if files, err = filepath.Glob(filepath.Join(dir, casesFolder, testcase.Pattern)); err != nil {
			return err
		}
		if len(files) == 0 {
			return &cli.Error{
				Err:  fmt.Errorf("%s has no cases", filepath.Join(dir, casesFolder)),
				Hint: "a case is a file " + testcase.Pattern + "; tiercel fn test --record ID makes one from an action",
			}
		}
	default:
		if where = filepath.Dir(path); filepath.Base(where) == casesFolder {
			where = filepath.Dir(where)
		}
	}
	f, err := t.load(ctx, where)
	if err != nil {
		return err
	}
	defer f.module.Close()
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		if t.match != nil && !t.match.MatchString(name) {
			continue
		}
		t.one(ctx, f, name, file)
	}
	return nil
}

// A tested is a function that is tested.
type tested struct {
	module *sandbox.Module
	digest string
	limits sandbox.Limits
	config json.RawMessage
	doc    *function.Document // nil: there is none
}

// load builds or reads the function at path: its folder, or its source in JavaScript.
func (t *tester) load(ctx context.Context, path string) (*tested, error) {
	f := &tested{}
	bin, err := t.bytes(ctx, path, f)
	if err != nil {
		return nil, err
	}
	if f.module, err = t.engine.Compile(ctx, bin); err != nil {
		return nil, err
	}
	f.digest = digest(bin)
	if f.doc == nil {
		return f, nil
	}
	if t.module == "" {
		if err := f.doc.Check(f.module.Manifest()); err != nil { // it takes over the manifest's defaults
			return nil, errors.Join(err, f.module.Close())
		}
	}
	f.config, f.limits = f.doc.Spec.Config, runtime.LimitsOf(&f.doc.Spec)
	return f, nil
}

// bytes returns the module to test, and sets the document if there is one.
func (t *tester) bytes(ctx context.Context, path string, f *tested) ([]byte, error) {
	d := runtime.Deployer{Builtin: builtin.Module, Pack: t.engine.Pack}
	if f.doc = t.doc; f.doc != nil {
		bin, _, _, err := d.Check(ctx, f.doc)
		return bin, err
	}
	docs, err := d.Documents(ctx, path)
	if source := isFile(filepath.Join(path, functions.ManifestFile)); source && isFile(filepath.Join(path, documentFile)) {
		docs, err = readDocs(path)
	} else if source {
		docs, err = nil, nil
	}
	if err != nil && t.module == "" {
		return nil, err
	}
	if len(docs) > 1 {
		return nil, &cli.Error{Err: fmt.Errorf("%s holds %d functions", path, len(docs)), Hint: "give one's folder, or its source"}
	}
	if len(docs) == 1 {
		f.doc = docs[0]
	}
	switch {
	case t.module != "":
		return moduleFile(t.module)
	case isFile(filepath.Join(path, functions.ManifestFile)):
		return functions.Build(ctx, path)
	case f.doc != nil:
		bin, _, _, err := d.Check(ctx, f.doc)
		return bin, err
	}
	return nil, &cli.Error{Err: fmt.Errorf("%s holds no function", path), Hint: "give its folder, or the module with --module"}
}

// moduleFile reads what --module names.
func moduleFile(ref string) ([]byte, error) {
	if name, bundled := strings.CutPrefix(ref, "builtin:"); bundled {
		return builtin.Module(name)
	}
	return os.ReadFile(strings.TrimPrefix(ref, "file:"))
}

// one runs one case and says how it went.
func (t *tester) one(ctx context.Context, f *tested, name, file string) {
	start := time.Now()
	t.ran++
	done := "ok     "
	err := func() error {
		c, err := testcase.Load(file, testcase.Defaults{Config: f.config})
		if err != nil {
			return err
		}
		run, err := c.Run(ctx, f.module, f.limits)
		if err != nil {
			return err
		}
		err = c.Compare(run)
		if err == nil || !t.update {
			return err
		}
		done = "updated"
		c.Update(run)
		return c.Save()
	}()
	if err != nil {
		t.failed++
		fmt.Fprintf(t.s.Out, "FAIL     %s\n", name)
		_ = report(t.s, err)
		return
	}
	fmt.Fprintf(t.s.Out, "%s  %s (%s)\n", done, name, time.Since(start).Round(100*time.Microsecond))
}

func (t *tester) summary() error {
	switch {
	case t.ran == 0:
		return &cli.Error{Err: fmt.Errorf("no case's name matches %q", t.match), Hint: "a case's name is that of its file"}
	case t.failed > 0:
		fmt.Fprintf(t.s.Out, "%d of %d failed\n", t.failed, t.ran)
		return cli.ErrSilent
	}
	fmt.Fprintf(t.s.Out, "%d passed\n", t.ran)
	return nil
}
