package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/functions/builtin"
	"github.com/tiercel-project/tiercel/runtime"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/heap"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/sensor/exempt"
)

// exemptWait is how long the start waits for the sensor of this machine to decide: until then rules see what this process does.
const exemptWait = 5 * time.Second

// askExemption asks the sensor of this machine, if there is one, to pass over what this process does until the function that it returns is
// called.
func (d *daemon) askExemption() func() {
	if d.cfg.SelfSocket == "" {
		return func() {}
	}
	if os.Geteuid() != 0 {
		sandbox.SelfTest() // opens what cannot be opened afterwards
		if err := exempt.Seal(); err != nil {
			d.log.Warn("the sensor on this machine will not pass over what this process does", "err", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background()) // what is done while the parts end is passed over too
	asked, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		(&exempt.Client{Path: d.cfg.SelfSocket, Log: d.log}).Run(ctx, func() { close(asked) })
	}()
	select {
	case <-asked:
	case <-time.After(exemptWait):
	}
	return func() {
		cancel()
		<-done
	}
}

// addRuntime makes the function runtime.
func (d *daemon) addRuntime(ctx context.Context) error {
	engine, err := d.newEngine()
	if err != nil {
		return err
	}
	d.closers = append(d.closers, engine.Close)
	unpace := heap.Pace()
	d.closers = append(d.closers, func() error { unpace(); return nil })
	registry, err := d.newCapabilities(ctx)
	if err != nil {
		return err
	}
	cfg := d.cfg.nested.Runtime
	cfg.Functions = d.cfg.Functions
	cfg.Protected = append(slices.Clone(cfg.Protected), d.cfg.Namespace)
	deps := runtime.Deps{
		Bus:          d.bus,
		Capabilities: registry,
		Compile:      func(ctx context.Context, module []byte) (runtime.Guest, error) { return compile(ctx, engine, module) },
		Pack:         engine.Pack,
		Free:         engine.Free,
		Builtin:      builtin.Module,
		Rules:        d.ruleNames,
		OnAction:     d.printAction,
		Log:          d.log,
		Metrics:      d.reg,
	}
	if c := registry.Cluster(); c != nil {
		deps.Provision, deps.Deprovision = c.Provision, c.Deprovision
	}
	r, err := runtime.New(ctx, cfg, deps)
	if err != nil {
		return withHint(err)
	}
	d.ready = append(d.ready, readiness{"runtime", r.Ready})
	d.parts = append(d.parts, r.Run)
	return nil
}

// compile returns the module as the interface that runtime knows: a nil *sandbox.Module must not become a Guest.
func compile(ctx context.Context, engine *sandbox.Engine, module []byte) (runtime.Guest, error) {
	m, err := engine.Compile(ctx, module)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (d *daemon) newEngine() (*sandbox.Engine, error) {
	cfg := sandbox.DefaultConfig()
	cfg.CacheDir = filepath.Join(d.cfg.Data, "cache", "modules")
	if err := os.MkdirAll(cfg.CacheDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the cache of compiled modules: %w", err)
	}
	return sandbox.New(cfg, d.reg)
}

// newCapabilities returns what functions may ask for. kubernetes.* is among it if there is a cluster.
func (d *daemon) newCapabilities(ctx context.Context) (*capability.Registry, error) {
	kv, err := d.bus.KeyValue(ctx, bus.BucketKV)
	if err != nil {
		return nil, err
	}
	artifacts, err := d.bus.ObjectStore(ctx, bus.StoreArtifacts)
	if err != nil {
		return nil, err
	}
	cfg := capability.Config{KV: kv, Artifacts: artifacts, Registerer: d.reg, Logger: d.log}
	var secrets capability.SecretsInOrder
	if d.cfg.Secrets != "" {
		secrets = append(secrets, capability.FileSecrets(d.cfg.Secrets))
	}
	if d.cfg.Kubeconfig != "" || inCluster() {
		cluster, err := capability.Connect(capability.ClusterConfig{
			Kubeconfig: d.cfg.Kubeconfig, Identity: capability.Identity(d.cfg.Identity), Namespace: d.cfg.Namespace, Version: version, Logger: d.log,
		})
		if err != nil {
			return nil, &cli.Error{Err: err, Hint: "--kubeconfig names the file; without it functions run, but cannot act on a cluster"}
		}
		cfg.Cluster = cluster
		secrets = append(secrets, capability.ClusterSecrets{Cluster: cluster, Namespace: d.cfg.Namespace})
	} else {
		d.log.Info("no cluster: functions cannot act on Kubernetes", "hint", "--kubeconfig names one")
	}
	cfg.Secrets = secrets
	return capability.New(cfg)
}

// inCluster reports whether this process runs in a pod with a service account.
func inCluster() bool { return os.Getenv("KUBERNETES_SERVICE_HOST") != "" }

func (d *daemon) ruleNames() []string {
	if d.set == nil {
		return nil
	}
	names := make([]string, 0, len(d.set.Rules()))
	for _, r := range d.set.Rules() {
		names = append(names, r.Name)
	}
	return names
}

// printAction prints a line for a finished action beside those of the matches. With --output json standard output is for alerts alone.
func (d *daemon) printAction(a *journal.Action) {
	if d.cfg.Output == "json" {
		d.log.Info("action", "action", a.ID, "function", a.Function.Name, "outcome", string(a.Outcome), "event_id", a.Event.ID, "rule", a.Event.Rule)
		return
	}
	fmt.Fprintln(d.streams.Out, actionLine(a))
}

// actionLine is one line about a: when, which function, how it ended, and what it did or would have done.
func actionLine(a *journal.Action) string {
	line := fmt.Sprintf("%s: Action %s %s", a.Ended.Format("15:04:05.000000000"), a.Function.Name, a.Outcome)
	if a.Mode == capability.DryRun {
		line += " (dry run)"
	}
	if a.End.Text != "" {
		line += ": " + a.End.Text
	}
	for _, c := range a.Calls {
		if c.Prepared != nil && c.Prepared.Write && c.Prepared.Summary != "" {
			line += "; " + c.Prepared.Summary
		}
	}
	return printable(line) + fmt.Sprintf(" (rule=%q action=%s)", a.Event.Rule, a.ID)
}

// printable replaces what would end the line or move the cursor: parts of it came with the event.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
