package fncmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/cmd/tiercel/connect"
	"github.com/tiercel-project/tiercel/runtime"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// quiet is how long nothing must have been saved before the function is built: an editor writes a file in several steps.
const quiet = 50 * time.Millisecond

// A developing is one run of fn dev.
type developing struct {
	s        cli.Streams // lines of its own and of the function's log go through mu
	mu       *sync.Mutex
	path     string
	tests    bool
	engine   *sandbox.Engine
	deployer *runtime.Deployer
	journal  *journal.Journal
	follows  string // token of the function whose log is followed
}

func newDev(s cli.Streams, flags *connect.Flags) *cobra.Command {
	var noTest bool
	cmd := &cobra.Command{
		Use:   "dev [DIR | SOURCE]",
		Short: "Build, test and deploy a function each time it is saved",
		Long: "Build the function in DIR (default: here), or take SOURCE in JavaScript, run its cases if it has any, deploy it, and do so again whenever a\n" +
			"file is saved, until interrupted. What fails to build or to pass is not deployed. The function's log is printed as it comes.",
		Example: "  tiercel fn dev my-responder",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM) // the usual end, so no error
			defer stop()
			d := &developing{mu: new(sync.Mutex), path: ".", tests: !noTest}
			d.s = cli.Streams{In: s.In, Out: &lockedWriter{d.mu, s.Out}, Err: &lockedWriter{d.mu, s.Err}}
			if len(args) == 1 {
				d.path = args[0]
			}
			if _, err := os.Stat(d.path); err != nil {
				return missing(d.path, err)
			}
			b, st, err := open(ctx, flags)
			if err != nil {
				return err
			}
			defer b.Close()
			if d.engine, err = sandbox.New(sandboxConfig(), nil); err != nil {
				return err
			}
			defer d.engine.Close()
			d.deployer, d.journal = newDeployer(d.engine), journal.New(journal.DefaultConfig(), b)
			d.deployer.Store = st
			cmd.SetContext(ctx)
			return d.run(cmd)
		},
	}
	cmd.Flags().BoolVar(&noTest, "no-test", false, "deploy whatever the cases say")
	return cmd
}

// run builds and deploys at once and after each change, until the command's context ends.
func (d *developing) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", d.path, err)
	}
	defer w.Close()
	if err := d.watch(w); err != nil {
		return fmt.Errorf("watch %s: %w", d.path, err)
	}
	var logs sync.WaitGroup
	defer logs.Wait()
	for {
		start := time.Now()
		docs, err := d.round(cmd, start)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			_ = report(d.s, err)
			fmt.Fprintf(d.s.Err, "not deployed (%s)\n", since(start))
		case d.follows == "" && len(docs) == 1:
			d.follows = docs[0].Metadata.Token()
			logs.Go(func() { d.logs(ctx, start) })
		}
		if !d.changed(ctx, w) {
			return nil
		}
	}
}

// round builds, tests and deploys once.
func (d *developing) round(cmd *cobra.Command, start time.Time) ([]*function.Document, error) {
	docs, err := collect(cmd, cli.Streams{Out: d.s.Out, Err: &quietBuild{d.s.Err}}, d.deployer, []string{d.path})
	if err != nil {
		return nil, err
	}
	passed := ""
	if d.tests {
		if passed, err = d.test(cmd.Context(), docs); err != nil {
			return nil, err
		}
	}
	for _, doc := range docs {
		origin, err := filepath.Abs(doc.File())
		if err != nil {
			return nil, err
		}
		done, err := d.deployer.Deploy(cmd.Context(), doc, store.ByCLI, origin)
		if err != nil {
			return nil, explain(cmd.Context(), d.deployer.Store, err, name(doc))
		}
		for _, w := range done.Warnings {
			fmt.Fprintf(d.s.Err, "warning: %v\n", w)
		}
		fmt.Fprintf(d.s.Out, "%s %s, revision %d, mode %s%s (%s)\n", name(doc), done.Applied, done.Entry.Revision, doc.Spec.Mode, passed, since(start))
	}
	return docs, nil
}

func since(start time.Time) time.Duration { return time.Since(start).Round(time.Millisecond) }

// test runs the cases, if there are any.
func (d *developing) test(ctx context.Context, docs []*function.Document) (string, error) {
	folder := d.path
	if isFile(folder) {
		folder = filepath.Dir(folder)
	}
	cases, err := filepath.Glob(filepath.Join(folder, casesFolder, "*.txtar"))
	if err != nil || len(cases) == 0 || len(docs) != 1 {
		return "", err
	}
	var out strings.Builder
	t := &tester{s: cli.Streams{Out: &out, Err: &out}, engine: d.engine, doc: docs[0]}
	if err := t.path(ctx, d.path); err != nil {
		return "", err
	}
	if t.failed > 0 {
		fmt.Fprint(d.s.Out, out.String())
		return "", fmt.Errorf("%d of %d cases failed", t.failed, t.ran)
	}
	return fmt.Sprintf(", %d cases passed", t.ran), nil
}

// logs prints what the function logs until ctx ends.
func (d *developing) logs(ctx context.Context, from time.Time) {
	err := d.journal.Follow(ctx, "tiercel.actions.*."+d.follows+".*", from, func(a *journal.Action) bool {
		printLog(d.s, a)
		return true
	})
	if err != nil {
		fmt.Fprintf(d.s.Err, "warning: the function's log: %v\n", err)
	}
}

// watch has w watch all folders that hold sources.
func (d *developing) watch(w *fsnotify.Watcher) error {
	root := d.path
	if isFile(root) {
		root = filepath.Dir(root)
	}
	return filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !e.IsDir():
			return nil
		case p != root && generated(p):
			return filepath.SkipDir
		}
		return w.Add(p)
	})
}

// generated reports whether a file or folder is not a source: it is hidden, an editor's, the SDK's or what a build makes.
func generated(path string) bool {
	base := filepath.Base(path)
	switch base {
	case "node_modules", "target", "tiercel", "build":
		return true
	}
	return strings.HasPrefix(base, ".") || strings.HasSuffix(base, "~") || strings.HasSuffix(base, ".wasm") || strings.HasSuffix(base, ".swp")
}

// changed waits until something is saved, and then until nothing is for a moment. It reports false when ctx ended.
func (d *developing) changed(ctx context.Context, w *fsnotify.Watcher) bool {
	var settled <-chan time.Time
	for {
		select {
		case e := <-w.Events:
			if e.Op == fsnotify.Chmod || generated(e.Name) {
				continue
			}
			if e.Has(fsnotify.Create) {
				_ = d.watch(w) // it may be a folder
			}
			settled = time.After(quiet)
		case <-w.Errors: //nolint:errcheck // events were lost: it is built again
			settled = time.After(quiet)
		case <-settled:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// A lockedWriter writes whole lines of several goroutines.
type lockedWriter struct {
	mu *sync.Mutex
	w  interface{ Write([]byte) (int, error) }
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}

// A quietBuild leaves out what build says about a module it has made.
type quietBuild struct {
	w interface{ Write([]byte) (int, error) }
}

func (w *quietBuild) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), "built ") {
		return len(p), nil
	}
	return w.w.Write(p)
}
