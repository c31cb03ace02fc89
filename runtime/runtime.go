package runtime

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/dispatch"
	"github.com/tiercel-project/tiercel/runtime/guard"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/revert"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// A Config says how a runtime behaves.
type Config struct {
	Name      string        `yaml:"name"`      // of this runtime, in claims. Default <host>-<pid>-<random>
	Functions string        `yaml:"functions"` // directory or file of Function documents that are kept deployed; empty: none
	Lease     time.Duration `yaml:"lease"`     // of a claim. At least 100ms. Default 10s
	AckWait   time.Duration `yaml:"ackWait"`   // until an event comes again that nobody extends. At least 100ms. Default 10s
	Seen      time.Duration `yaml:"seen"`      // how long a finished invocation refuses duplicates. At least 1s. Default 1h
	Grace     time.Duration `yaml:"grace"`     // for what is in hand when the runtime is told to end. Default 10s
	Attempts  int           `yaml:"attempts"`  // that may end without saying how. At least 1. Default 3
	Sweep     time.Duration `yaml:"sweep"`     // between two looks at what is overdue. Default 1m
	Protected []string      `yaml:"protected"` // namespaces never acted on. Default kube-system
}

// DefaultConfig is complete.
func DefaultConfig() Config {
	return Config{
		Lease: 10 * time.Second, AckWait: 10 * time.Second, Seen: time.Hour, Grace: 10 * time.Second, Attempts: 3, Sweep: time.Minute,
		Protected: []string{"kube-system"},
	}
}

// Validate returns all that is wrong with c. It does no I/O.
func (c *Config) Validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
		least time.Duration
	}{
		{"lease", c.Lease, 100 * time.Millisecond},
		{"ackWait", c.AckWait, 100 * time.Millisecond},
		{"seen", c.Seen, time.Second},
		{"grace", c.Grace, 0},
		{"sweep", c.Sweep, 100 * time.Millisecond},
	} {
		if d.value < d.least {
			errs = append(errs, fmt.Errorf("%s: %v is below %v", d.name, d.value, d.least))
		}
	}
	if c.Attempts < 1 {
		errs = append(errs, fmt.Errorf("attempts: %d is below 1", c.Attempts))
	}
	return errors.Join(errs...)
}

// Capabilities does what functions ask for; *capability.Registry is one.
type Capabilities interface {
	Prepare(ctx context.Context, s capability.Scope, op string, request []byte) (*capability.Prepared, error)
	Execute(ctx context.Context, s capability.Scope, p *capability.Prepared, effect string) (capability.Result, error)
	Look(ctx context.Context, s capability.Scope, p *capability.Prepared, effect string) (done bool, r capability.Result, err error)
	Revert(ctx context.Context, s capability.Scope, i *capability.Inverse, effect string) (capability.Result, error)
}

// A Guest is a compiled module; *sandbox.Module is one.
type Guest interface {
	Handle(ctx context.Context, inv sandbox.Invocation, host sandbox.Host) (abi.Result, *sandbox.Report, error)
	Manifest() abi.Manifest
	Image() string // digest of the state that every event finds; empty: it has none
	Close() error
}

// Deps is whom a runtime works with.
type Deps struct {
	Bus          *bus.Bus
	Capabilities Capabilities
	Compile      func(ctx context.Context, module []byte) (Guest, error)
	Pack         func(ctx context.Context, file string, source []byte) (*sandbox.Packed, error) // of sources in JavaScript; nil: they cannot be deployed
	Free         func() int                                                                     // sandboxes that are free now; nil: any number
	Builtin      func(name string) ([]byte, error)                                              // bundled modules; nil: there are none
	Rules        func() []string                                                                // names of the loaded rules, for warnings; nil: not known
	Provision    func(context.Context, capability.Function, capability.Grants) error            // credentials of a function; nil: none needed
	Deprovision  func(context.Context, capability.Function, capability.Grants) error            // takes them back; nil: they stay
	OnAction     func(*journal.Action)                                                          // told of each sealed action; nil: nobody
	Log          *slog.Logger                                                                   // nil: nowhere
	Metrics      prometheus.Registerer                                                          // nil: nowhere
	Clock        journal.Clock                                                                  // nil: the machine's
	Faults       Faults                                                                         // nil: none
}

// A Runtime runs the functions of the store. Several may share one bus.
type Runtime struct {
	cfg  Config
	deps Deps
	log  *slog.Logger

	store    *store.Store
	journal  *journal.Journal
	guard    *guard.Guard
	halts    *guard.Halts
	stop     *guard.Switch
	skips    *guard.Skips
	reverter *revert.Reverter
	metrics  *metrics
	dispatch *dispatch.Metrics
	state    jetstream.KeyValue
	bodies   jetstream.ObjectStore

	mu      sync.Mutex
	workers map[string]*worker // by function token; guarded by mu
	active  map[string]bool    // invocations this runtime is at; guarded by mu
	waited  map[string]uint64  // invocation → last record after which a full lease has gone by; guarded by mu
	retired map[string]retired // deleted functions that may still have keys or credentials, by UID; guarded by mu
	ready   bool               // guarded by mu
	dirErr  error              // of the directory of functions; guarded by mu
}

// New returns a Runtime on streams that exist already. It starts nothing but reads the buckets.
func New(ctx context.Context, cfg Config, deps Deps) (*Runtime, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("runtime: %w", err)
	}
	if cfg.Name == "" {
		cfg.Name = defaultName()
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Clock == nil {
		deps.Clock = journal.SystemClock{}
	}
	if deps.Faults == nil {
		deps.Faults = noFaults{}
	}
	if deps.Metrics == nil {
		deps.Metrics = prometheus.NewRegistry()
	}
	r := &Runtime{cfg: cfg, deps: deps, log: deps.Log, workers: map[string]*worker{}, active: map[string]bool{}, waited: map[string]uint64{}, retired: map[string]retired{}}
	var err error
	if r.store, err = store.Open(ctx, deps.Bus.JetStream()); err != nil {
		return nil, err
	}
	if r.state, err = deps.Bus.KeyValue(ctx, bus.BucketState); err != nil {
		return nil, err
	}
	if r.bodies, err = deps.Bus.ObjectStore(ctx, bus.StoreBodies); err != nil {
		return nil, err
	}
	r.journal = journal.New(journal.Config{Runtime: cfg.Name, Lease: cfg.Lease, Seen: cfg.Seen, Clock: deps.Clock}, deps.Bus)
	r.halts = guard.NewHalts(r.state)
	r.guard = guard.New(guard.Config{Protected: cfg.Protected}, r.state, r.halts)
	r.stop = guard.NewSwitch(guard.SwitchConfig{Boot: deps.Clock.Boot}, r.state, r.turned)
	r.skips = guard.NewSkips(r.journal, r.log)
	r.reverter = revert.New(revert.Config{Runtime: cfg.Name}, revert.Deps{
		Bus: deps.Bus, Journal: r.journal, State: r.state, Capabilities: deps.Capabilities,
		Check: func(ctx context.Context) error { return r.stop.Check(ctx, true) },
		Reach: func(ctx context.Context, p, invocation string) error {
			return deps.Faults.Reach(ctx, Point(p), invocation)
		}, OnAction: r.sealed, Log: r.log,
	})
	r.metrics = newMetrics(deps.Metrics)
	r.dispatch = dispatch.NewMetrics(deps.Metrics)
	return r, nil
}

func defaultName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "runtime"
	}
	var b [4]byte
	rand.Read(b[:])
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), hex.EncodeToString(b[:]))
}

// Name is what this runtime is called in claims.
func (r *Runtime) Name() string { return r.cfg.Name }

// Journal returns the journal the runtime writes to.
func (r *Runtime) Journal() *journal.Journal { return r.journal }

// Store returns the store the runtime takes its functions from.
func (r *Runtime) Store() *store.Store { return r.store }

// Run runs the functions until ctx ends, finishes what is in hand, and returns nil.
func (r *Runtime) Run(ctx context.Context) error {
	// What others rely on ends after them: skips are stored while the consumers drain.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var below errgroup.Group
	below.Go(func() error { return r.stop.Run(base) })
	below.Go(func() error { return r.halts.Run(base) })
	below.Go(func() error { return r.skips.Run(base) })

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.follow(gctx) })
	g.Go(func() error { return r.timers(gctx) })
	g.Go(func() error { return r.sweep(gctx) })
	g.Go(func() error { return r.floors(gctx) })
	if r.cfg.Functions != "" {
		g.Go(func() error { return r.directory(gctx) })
	}
	err := g.Wait()
	cancel()
	return errors.Join(err, below.Wait())
}

// Ready returns nil once the functions are loaded, and why not otherwise.
func (r *Runtime) Ready() error {
	if err := r.deps.Bus.Ready(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ready {
		return errors.New("functions are being loaded")
	}
	errs := []error{r.dirErr}
	for _, w := range r.workers {
		errs = append(errs, w.problem())
	}
	return errors.Join(errs...)
}

// turned is called when the stop switch turns.
func (r *Runtime) turned(s guard.Stop) {
	if s.Stopped {
		r.log.Warn("stopped: no function acts until started again", "by", s.By, "reason", s.Reason)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.workers {
		w.kick()
	}
}
