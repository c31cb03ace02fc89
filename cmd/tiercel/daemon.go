package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor"
	"github.com/tiercel-project/tiercel/sensor/exempt"
	"github.com/tiercel-project/tiercel/sensor/kernel"
	"github.com/tiercel-project/tiercel/sensor/output"
)

// A daemon is the parts of one process, as they are put together.
type daemon struct {
	cfg     *daemonConfig
	streams cli.Streams
	log     *slog.Logger
	reg     *prometheus.Registry

	set    *rules.Set
	server *bus.Server // nil with --nats
	bus    *bus.Bus

	ready   []readiness
	losses  func() []sensor.ContainerLoss // nil without a sensor
	exempt  func() []exempt.Peer          // likewise
	parts   []func(context.Context) error // run until the context ends
	closers []func() error                // after the parts have ended, before the bus
}

// runDaemon runs the parts until ctx ends, then drains them. What was read from the kernel before is published before it returns.
func runDaemon(ctx context.Context, s cli.Streams, cfg *daemonConfig, parts part) error {
	s.Out = &lineWriter{w: s.Out}
	d := &daemon{cfg: cfg, streams: s, log: newLogger(s.Err, cfg), reg: prometheus.NewRegistry()}
	d.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, v := range strays(os.Environ()) {
		d.log.Warn("an environment variable begins as settings do and is none", "name", v.name, "nearest", v.nearest)
	}
	if cfg.Node == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("name this node: %w", err)
		}
		cfg.Node = bus.NodeName(name)
	}
	if err := d.loadRules(); err != nil {
		return err
	}
	if parts&partSensor != 0 {
		if err := kernel.Check(); err != nil { // before anything is made on disk
			return requirement(err)
		}
	}
	if parts == partRuntime {
		defer d.askExemption()()
	}
	if err := d.startBus(ctx, parts); err != nil {
		return err
	}
	defer d.close()
	if parts&partSensor != 0 {
		if err := d.addSensor(parts == partSensor); err != nil {
			return err
		}
	}
	if parts&partRuntime != 0 {
		if err := d.addRuntime(ctx); err != nil {
			return err
		}
	}
	if cfg.HTTP != "" {
		srv, err := newStatusServer(cfg.HTTP, d.reg, d.ready, d.views())
		if err != nil {
			return &cli.Error{Err: err, Hint: "--http picks another address, or none if empty"}
		}
		d.log.Info("serving /metrics, /healthz and /readyz", "addr", srv.Addr())
		d.parts = append(d.parts, srv.Run)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, run := range d.parts {
		g.Go(func() error { return run(ctx) })
	}
	err := g.Wait()
	d.log.Info("stopped")
	return requirement(err)
}

// views are what the status server gives as JSON, by path.
func (d *daemon) views() map[string]func() any {
	if d.losses == nil {
		return nil
	}
	return map[string]func() any{"/losses": func() any { return d.losses() }, "/exempt": func() any { return d.exempt() }}
}

// startBus connects to NATS, or starts the embedded server and connects to that, and makes the streams.
func (d *daemon) startBus(ctx context.Context, parts part) error {
	bc := bus.DefaultConfig()
	bc.Name, bc.Limits = "tiercel/"+d.cfg.Node, d.cfg.nested.Streams
	if d.cfg.NATS != "" {
		bc.URL, bc.Creds, bc.CA, bc.Cert, bc.Key = d.cfg.NATS, d.cfg.Creds, d.cfg.CA, d.cfg.Cert, d.cfg.Key
	} else {
		sc := bus.DefaultServerConfig()
		sc.DataDir, sc.Port, sc.Limits = filepath.Join(d.cfg.Data, "nats"), d.cfg.NATSPort, d.cfg.nested.Streams
		if sc.SyncAlways = d.cfg.NATSSync == 0; !sc.SyncAlways {
			sc.Sync = d.cfg.NATSSync
		}
		server, err := bus.StartServer(ctx, sc, bus.WithLogger(d.log), bus.WithRegistry(d.reg))
		if err != nil {
			return withHint(err)
		}
		d.server, bc.Server = server, server
		d.log.Info("embedded NATS server is ready", "url", server.URL(), "data", sc.DataDir)
	}
	opts := []bus.Option{bus.WithLogger(d.log), bus.WithRegistry(d.reg)}
	alone := parts == partSensor && d.cfg.NATS != "" && d.cfg.SpoolSize != "0"
	if alone {
		opts = append(opts, bus.WithRetry()) // it watches and spools until the bus is there
	}
	b, err := bus.Connect(ctx, bc, opts...)
	if err != nil {
		d.close()
		return withHint(err)
	}
	d.bus = b
	d.ready = append(d.ready, readiness{"bus", b.Ready})
	if away := b.Ready(); alone && away != nil {
		d.log.Warn("the bus is out of reach: matches are kept in the spool until it is there", "url", b.URL(), "reason", away)
		d.parts = append(d.parts, d.ensureLater)
		return nil
	}
	roles := []bus.Role{bus.RoleSensor}
	if parts&partRuntime != 0 {
		roles = append(roles, bus.RoleRuntime)
	}
	if err := b.EnsureStreams(ctx, roles...); err != nil {
		d.close()
		return withHint(err)
	}
	return nil
}

// ensureLater makes the sensor's streams once the bus is there.
func (d *daemon) ensureLater(ctx context.Context) error {
	for {
		if d.bus.Ready() == nil {
			err := d.bus.EnsureStreams(ctx, bus.RoleSensor)
			if err == nil {
				return nil
			}
			d.log.Warn("streams of the bus are not as they should be; trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// close closes the bus and its server, in that order.
func (d *daemon) close() {
	for _, c := range slices.Backward(d.closers) {
		if err := c(); err != nil {
			d.log.Warn("closing", "err", err)
		}
	}
	d.closers = nil
	if d.bus != nil {
		d.bus.Close()
		d.bus = nil
	}
	if d.server != nil {
		d.server.Close()
		d.server = nil
	}
}

// A hinter is an error that knows what to do about it.
type hinter interface{ Hint() string }

// withHint turns an error with a hint into one whose hint the command line prints.
func withHint(err error) error {
	var h interface {
		error
		hinter
	}
	if errors.As(err, &h) && h.Hint() != "" {
		return &cli.Error{Err: err, Hint: h.Hint()}
	}
	return err
}

// A lineWriter lets several parts write whole lines to one stream.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// TryWrite implements output.TryWriter.
func (l *lineWriter) TryWrite(p []byte) int {
	if !l.mu.TryLock() {
		return 0
	}
	defer l.mu.Unlock()
	return output.TryWrite(l.w, p)
}

func newLogger(w io.Writer, cfg *daemonConfig) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.logLevel()}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
