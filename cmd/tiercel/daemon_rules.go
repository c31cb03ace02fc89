package main

import (
	"errors"
	"fmt"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/rules"
	samplerules "github.com/tiercel-project/tiercel/samples/rules"
	"github.com/tiercel-project/tiercel/sensor"
)

// loadRules loads the rules for the first time. Errors and warnings go to standard error with their places.
func (d *daemon) loadRules() error {
	set, report, err := d.readRules()
	if err != nil {
		return err
	}
	if err := report.WriteText(d.streams.Err); err != nil {
		return err
	}
	if set == nil {
		n := len(report.Errors())
		return &cli.Error{Err: fmt.Errorf("rules: %d %s", n, plural(n, "error")), Hint: "tiercel rule check FILE… checks rules without starting anything"}
	}
	d.set = set
	d.log.Info("rules loaded", "files", len(report.Files), "rules", countEnabled(set), "warnings", len(report.Warnings()))
	return nil
}

// readRules reads the rules of --rules, or the embedded ones.
func (d *daemon) readRules() (*rules.Set, *rules.Report, error) {
	var files []rules.File
	var err error
	if len(d.cfg.Rules) == 0 {
		files, err = rules.ReadFS(samplerules.FS)
	} else {
		files, err = rules.ReadFiles(d.cfg.Rules)
	}
	if err != nil {
		return nil, nil, err
	}
	if len(files) == 0 {
		return nil, nil, errors.New("rules: no .yaml or .yml file found")
	}
	opts := d.ruleOptions()
	set, report := rules.Load(files, opts)
	if set != nil {
		set.Prepare() // so that no event waits for it
		for _, err := range rules.Unused(set, opts) {
			d.log.Warn("the configuration says something of no rule", "err", err)
		}
	}
	return set, report, nil
}

func (d *daemon) ruleOptions() rules.Options {
	opts := rules.Options{
		Select: d.cfg.nested.RuleSelection, AppendOutput: d.cfg.nested.AppendOutput, StaticFields: d.cfg.nested.StaticFields, Hostname: d.cfg.Node,
		Provider: sensor.Provider(),
	}
	if d.cfg.Matching == "all" {
		opts.Matching = rules.All
	}
	if p, err := rules.ParsePriority(d.cfg.MinPriority); err == nil { // Validate has refused others
		opts.MinPriority = &p
	}
	return opts
}

func countEnabled(set *rules.Set) int {
	n := 0
	for _, r := range set.Rules() {
		if r.Enabled {
			n++
		}
	}
	return n
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
