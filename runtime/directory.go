package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/tiercel-project/tiercel/runtime/store"
)

// settle is how long a directory must have been quiet before it is read again.
const settleTime = 300 * time.Millisecond

// directory keeps the functions of a directory deployed until ctx ends: at the start, and whenever something in it changes. What is
// wrong in it is logged and makes the runtime unready; the functions deployed before stay.
func (r *Runtime) directory(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", r.cfg.Functions, err)
	}
	defer w.Close()
	for {
		err := errors.Join(watchTree(w, r.cfg.Functions), r.loadDirectory(ctx))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			for _, e := range flatten(err) {
				r.log.Error("function is not deployed", "err", e)
			}
		}
		r.mu.Lock()
		r.dirErr = err
		r.mu.Unlock()
		if !quiet(ctx, w) {
			return nil
		}
	}
}

// quiet waits for a change and then until there is no more for a moment. It reports false when ctx ended.
func quiet(ctx context.Context, w *fsnotify.Watcher) bool {
	var settled <-chan time.Time
	again := time.NewTimer(time.Minute) // what could not be deployed may be possible now
	defer again.Stop()
	for {
		select {
		case <-w.Events:
			settled = time.After(settleTime)
		case <-w.Errors: //nolint:errcheck // events were lost: it is read again
			settled = time.After(settleTime)
		case <-settled:
			return true
		case <-again.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

func watchTree(w *fsnotify.Watcher, path string) error {
	return filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() || p == path {
			return w.Add(p)
		}
		return nil
	})
}

// loadDirectory deploys every document of the directory and deletes the functions whose document is gone from it.
func (r *Runtime) loadDirectory(ctx context.Context) error {
	root, err := filepath.Abs(r.cfg.Functions)
	if err != nil {
		return err
	}
	d := &Deployer{Store: r.store, Builtin: r.deps.Builtin, Rules: r.deps.Rules, Pack: r.deps.Pack}
	docs, err := d.Documents(ctx, root)
	errs := []error{err}
	there := map[string]bool{}
	for _, doc := range docs {
		token := doc.Metadata.Token()
		there[token] = true
		done, err := d.Deploy(ctx, doc, store.ByDir, doc.File())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, w := range done.Warnings {
			r.log.Warn("function document", "function", token, "err", w)
		}
		if done.Applied != store.Unchanged {
			r.log.Info("function deployed", "function", token, "revision", done.Entry.Revision, "digest", done.Entry.Module, "mode", doc.Spec.Mode, "file", doc.File())
		}
	}
	if err != nil {
		return errors.Join(errs...) // a file that cannot be read deletes nothing
	}
	entries, err := r.store.List(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, e := range entries {
		inside := e.Origin == root || strings.HasPrefix(e.Origin, root+string(filepath.Separator))
		if e.ManagedBy != store.ByDir || there[e.Key()] || !inside {
			continue
		}
		if _, err := r.store.Delete(ctx, e.Key(), store.ByDir); err != nil {
			errs = append(errs, err)
			continue
		}
		r.log.Info("function deleted", "function", e.Key(), "file", e.Origin)
	}
	return errors.Join(errs...)
}

// flatten returns the errors that errors.Join put together.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range j.Unwrap() {
			out = append(out, flatten(e)...)
		}
		return out
	}
	return []error{err}
}
