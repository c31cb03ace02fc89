package sensor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	rulematch "github.com/tiercel-project/tiercel/rules/match"
	"github.com/tiercel-project/tiercel/sensor/extract"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

// use makes set the rules of the events of the next generation.
func (s *Sensor) use(set *rules.Set) {
	s.set.Store(set)
	s.pipeline.setRules(set, s.generation)
	n := 0
	var domains []string
	for _, r := range set.Rules() {
		if !r.Enabled || r.Source != extract.RuleSource {
			continue
		}
		n++
		for _, id := range []field.ID{field.FDCipName, field.FDSipName, field.FDLipName, field.FDRipName} {
			domains = append(domains, r.Program().Operands(id)...)
		}
	}
	s.metrics.rules.Set(float64(n))
	if n == 0 {
		s.log.Warn("no rule for system calls is enabled: nothing is watched")
	}
	s.domains.Use(domains)
}

// Reload makes set the rules that events from now on are matched against: each event is matched against the rules before, or against set,
// and none that either would match is missed. It is safe for concurrent use.
func (s *Sensor) Reload(set *rules.Set) {
	s.reloadMu <- struct{}{}
	defer func() { <-s.reloadMu }()
	before := s.set.Load()
	wide := s.plan(before, set)
	s.generation++
	s.use(set) // before the first event of the generation
	src := s.source.Load()
	if src == nil {
		return
	}
	next := s.plan(set)
	err := (*src).Use(wide, next)
	if err == nil {
		return
	}
	s.log.Error("the kernel did not take the filter of the new rules: all events of their types are read", "err", err)
	all := filter.Everything(before.EventTypes(extract.RuleSource).Union(next.Types))
	all.Generation = s.generation
	if err := (*src).Use(all, all); err != nil {
		s.log.Error("events of the new rules are not all selected", "err", err)
	}
}

// plan returns what the kernel is told of the enabled rules of sets. A capture has all events of the types that they look at.
func (s *Sensor) plan(sets ...*rules.Set) *filter.Plan {
	if s.deps.Capture != nil {
		var types field.EventSet
		for _, set := range sets {
			types = types.Union(set.EventTypes(extract.RuleSource))
		}
		p := filter.Everything(types)
		p.Generation = s.generation
		return p
	}
	var programs []*rulematch.Program
	for _, set := range sets {
		for _, r := range set.Rules() {
			if r.Enabled && r.Source == extract.RuleSource {
				programs = append(programs, r.Program())
			}
		}
	}
	return filter.Compile(programs, s.generation, filter.Options{Shadow: s.cfg.FilterShadow})
}

// reload loads the rules anew. Rules with errors are reported, and those before stay.
func (s *Sensor) reload(why string) {
	if s.deps.Load == nil {
		return
	}
	set, report, err := s.deps.Load()
	if err != nil {
		s.rejected(why, err)
		return
	}
	for _, p := range report.Warnings() {
		s.log.Warn("rules warning", "at", place(p.File, p.Line, p.Col), "err", p.Message())
	}
	if set == nil {
		for _, p := range report.Errors() {
			s.log.Error("rules error", "at", place(p.File, p.Line, p.Col), "err", p.Message())
		}
		s.rejected(why, report.Err())
		return
	}
	s.Reload(set)
	s.metrics.reloads.WithLabelValues("loaded").Inc()
	s.metrics.stale.Set(0)
	s.log.Info("rules reloaded", "why", why, "rules", len(set.Rules()))
}

func place(file string, line, col int) string { return fmt.Sprintf("%s:%d:%d", file, line, col) }

// rejected says that the rules before stay.
func (s *Sensor) rejected(why string, err error) {
	s.metrics.reloads.WithLabelValues("rejected").Inc()
	s.metrics.stale.Set(1)
	s.log.Error("rules not reloaded: those before stay", "why", why, "err", err)
	s.reporter.internal("Tiercel internal: rules not reloaded", rules.Critical, "Rules were not reloaded, those before stay | reason="+err.Error(),
		[]rules.OutputField{{Name: "reason", Value: err.Error()}}, "")
}

// reopen opens the file output, and starts the program of the program output, anew.
func (s *Sensor) reopen() {
	if s.file != nil {
		s.file.Reopen()
		s.log.Info("the file output is opened anew with the next alert", "why", "SIGUSR1")
	}
	if s.program != nil {
		s.program.Reopen()
		s.log.Info("program output starts its program anew with the next alert", "why", "SIGUSR1")
	}
}

// listen reloads on SIGHUP and on changes that watch sees, and reopens outputs on SIGUSR1, until ctx ends. It closes watch,
// which may be nil.
func (s *Sensor) listen(ctx context.Context, signals <-chan os.Signal, watch *fsnotify.Watcher) error {
	if watch != nil {
		defer func() { _ = watch.Close() }()
	}
	settled := time.NewTimer(time.Hour)
	settled.Stop()
	defer settled.Stop()
	for {
		var changes chan fsnotify.Event
		var problems chan error
		if watch != nil {
			changes, problems = watch.Events, watch.Errors
		}
		select {
		case <-ctx.Done():
			return nil
		case sig := <-signals:
			if sig == unix.SIGHUP {
				s.reload("SIGHUP")
			} else {
				s.reopen()
			}
		case ev := <-changes:
			if s.concerns(ev) {
				settled.Reset(s.cfg.ReloadDelay)
			}
		case err := <-problems:
			s.log.Warn("watching the rules files", "err", err)
		case <-settled.C:
			s.reload("rules files changed")
		}
	}
}

// watch watches the directories of the rules files: editors and Kubernetes replace files rather than write them.
func (s *Sensor) watch() *fsnotify.Watcher {
	if len(s.deps.Watch) == 0 || s.deps.Load == nil {
		return nil
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		s.log.Warn("rules files are not watched; SIGHUP reloads them", "err", err)
		return nil
	}
	for _, path := range s.deps.Watch {
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			path = filepath.Dir(path)
		}
		if err := w.Add(path); err != nil {
			s.log.Warn("rules are not watched; SIGHUP reloads them", "path", path, "err", err)
		}
	}
	return w
}

// concerns reports whether a change in a watched directory may be one of the rules.
func (s *Sensor) concerns(ev fsnotify.Event) bool {
	if ev.Op == fsnotify.Chmod {
		return false
	}
	name := filepath.Clean(ev.Name)
	for _, path := range s.deps.Watch {
		path = filepath.Clean(path)
		if name == path || filepath.Dir(name) == path {
			return true
		}
		// A mounted ConfigMap changes by a symbolic link beside the files: ..data
		if filepath.Dir(name) == filepath.Dir(path) && filepath.Base(name) == "..data" {
			return true
		}
	}
	return false
}
