package sensor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/spool"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/capture"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/domain"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/exempt"
	"github.com/tiercel-project/tiercel/sensor/extract"
	"github.com/tiercel-project/tiercel/sensor/filter"
	"github.com/tiercel-project/tiercel/sensor/host"
	"github.com/tiercel-project/tiercel/sensor/kernel"
	"github.com/tiercel-project/tiercel/sensor/output"
	"github.com/tiercel-project/tiercel/sensor/process"
	"github.com/tiercel-project/tiercel/sensor/recorder"
)

// A Source delivers the kernel's records; *kernel.Sensor does. See there for the contract of each method.
type Source interface {
	Use(wide, next *filter.Plan) error
	Snapshot(handle func(*event.Event)) error
	Run(ctx context.Context, handle func(*event.Event)) error
	Reread(known func(*event.Event) bool, handle func(*event.Event)) error
	Stats() (kernel.Stats, error)
	Losses() ([]kernel.CgroupLoss, error)
	Done() uint64
	Exempt(pid uint32, check func() error) (*kernel.Exemption, error)
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
	// Capture takes every event as the kernel sent it, and the names that were learned. It is not closed. Nil: none.
	Capture *capture.Writer
	// Watching is called once, when the sensor watches the kernel. Nil: nothing is.
	Watching func()
	// Open opens the source. Nil: kernel.Open.
	Open func(kernel.Config) (Source, error)
}

// A Sensor is the whole way from the kernel to outputs and bus. Make one with New.
type Sensor struct {
	cfg       Config
	deps      Deps
	log       *slog.Logger
	metrics   *metrics
	pipeline  pipeline
	reporter  *reporter
	outputs   output.All
	file      *output.File    // nil if there is none
	program   *output.Program // nil if there is none
	publisher publisher       // nil if there is no bus
	domains   *domain.Names
	exempt    *exempt.Server // nil without a socket
	lost      lossTally

	wake     chan struct{} // capacity 1: somebody waits, or need not any more
	set      atomic.Pointer[rules.Set]
	source   atomic.Pointer[Source] // set while Run is attached
	reloadMu chan struct{}          // capacity 1: held during a reload
	rereadMu sync.Mutex             // held while processes are read again

	generation uint32    // of the rules; guarded by reloadMu once Run has begun
	began      time.Time // when Run did
}

// errNotAttached is what Ready returns before Run has attached.
var errNotAttached = errors.New("not attached to the kernel")

// New checks cfg, opens the file output, and returns a sensor that Run starts.
func New(cfg Config, deps Deps) (*Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sensor: %w", err)
	}
	s := &Sensor{
		cfg: cfg, deps: deps, log: deps.Log, metrics: newMetrics(deps.Registerer),
		wake: make(chan struct{}, 1), reloadMu: make(chan struct{}, 1),
	}
	s.reporter = newReporter(s)
	if err := s.newOutputs(); err != nil {
		return nil, err
	}
	s.newPipeline()
	if cfg.SelfSocket != "" {
		s.exempt = exempt.New(exempt.Config{Path: cfg.SelfSocket, Users: cfg.SelfUsers, Log: s.log, Registerer: deps.Registerer})
	}
	if deps.Bus != nil {
		if err := s.newPublisher(); err != nil {
			return nil, err
		}
	}
	s.use(deps.Rules)
	deps.Registerer.MustRegister(newCollector(s))
	return s, nil
}

// A publisher is the way to the bus: *bus.Publisher, or *spool.Publisher.
type publisher interface {
	PublishMessage(*bus.Message) error
	Run(context.Context) error
	Drain(context.Context) error
	Ready() error
	Pending() int
}

// newPublisher makes the publisher, with a spool if there is one.
func (s *Sensor) newPublisher() error {
	pc := bus.DefaultPublisherConfig()
	pc.MaxMessages, pc.MaxBytes, pc.DrainWait = s.cfg.BufferEvents, s.cfg.BufferBytes, s.cfg.DrainTimeout
	pc.OnAck, pc.OnError = s.reporter.acked, s.reporter.gaveUp
	if s.cfg.Spool == "" {
		s.publisher = bus.NewPublisher(s.deps.Bus, pc)
		return nil
	}
	sc := spool.DefaultConfig()
	sc.Dir, sc.MaxBytes, sc.Sync, sc.Bus = s.cfg.Spool, s.cfg.SpoolBytes, s.cfg.SpoolSync, pc
	sc.Log, sc.Registerer = s.log, s.deps.Registerer
	p, err := spool.New(s.deps.Bus, sc)
	if err != nil {
		return err
	}
	s.publisher = p
	return nil
}

// newOutputs makes the outputs that the configuration names, those first whose readers are further away: what reads standard output may take the
// processor as soon as it gets an alert.
func (s *Sensor) newOutputs() error {
	failed := func(name string) func(error) { return (&complaint{log: s.log, output: name}).tell }
	if s.cfg.HTTPOutput != "" {
		s.outputs.List = append(s.outputs.List, output.NewHTTP(output.HTTPConfig{
			URL: s.cfg.HTTPOutput, Timeout: s.cfg.HTTPTimeout, Queue: s.cfg.OutputQueue,
		}, failed("http")))
	}
	if s.cfg.SyslogOutput {
		s.outputs.List = append(s.outputs.List, output.NewSyslog(output.SyslogConfig{
			Format: s.cfg.Format, Queue: s.cfg.OutputQueue, Socket: s.cfg.SyslogSocket,
		}, failed("syslog")))
	}
	if s.cfg.ProgramOutput != "" {
		s.program = output.NewProgram(output.ProgramConfig{
			Program: s.cfg.ProgramOutput, KeepAlive: s.cfg.ProgramKeepAlive, Format: s.cfg.Format, Queue: s.cfg.OutputQueue,
		}, failed("program"))
		s.outputs.List = append(s.outputs.List, s.program.Output)
	}
	if s.deps.Stdout != nil {
		s.outputs.List = append(s.outputs.List, output.NewStream(s.deps.Stdout, s.cfg.Format, s.cfg.OutputQueue, failed("stdout")))
	}
	if s.cfg.FileOutput != "" {
		f, err := output.NewFile(s.cfg.FileOutput, s.cfg.Format, s.cfg.OutputQueue, failed("file"))
		if err != nil {
			return err
		}
		s.file = f
		s.outputs.List = append(s.outputs.List, f.Output)
	}
	return nil
}

// newPipeline puts the tables together.
func (s *Sensor) newPipeline() {
	resolvers := append([]container.Resolver(nil), s.deps.Resolvers...)
	for _, text := range s.cfg.RuntimeSockets {
		if sock, err := container.ParseSocket(text); err == nil { // Validate has refused others
			resolvers = append(resolvers, sock.Resolver(s.cfg.HostRoot))
		}
	}
	cc := container.DefaultConfig()
	cc.Timeout = s.cfg.IdentityTimeout
	p := &s.pipeline
	p.clock, p.now, p.metrics, p.wake = newClock(), bootNS, s.metrics, s.wake
	p.cgroups = container.NewTable(cc, resolvers, func(string) { s.rouse() }, s.log)
	uc := container.DefaultUsersConfig()
	uc.HostRoot = s.cfg.HostRoot
	p.users = container.NewUsers(uc)
	s.sayWhatIsMissing()
	var outside process.Outside
	if p.seesProcesses = host.InPIDNamespace(); p.seesProcesses {
		outside = process.Proc{}
	} else {
		s.log.Warn("not in the host's pid namespace: the users of containers have no names, and lost records of processes are not made up for",
			"hint", "run with hostPID: true, or docker's --pid=host")
	}
	pc := process.DefaultConfig()
	pc.Max, pc.Retention = s.cfg.Processes, s.cfg.Retention
	p.table = process.New(pc, outside)
	if s.deps.Capture != nil {
		s.cfg.Recorder.Off = true // what rules do not see is not asked for
	}
	if p.recorder = recorder.New(s.cfg.Recorder); p.recorder != nil {
		s.deps.Registerer.MustRegister(p.recorder)
	}
	p.waiting = waiting{max: s.cfg.Waiting, timeout: s.cfg.IdentityTimeout}
	s.domains = domain.New(domain.DefaultConfig(), nil, s.log)
	p.extract = extract.New(extract.Config{
		Hostname: s.cfg.Hostname, Table: p.table, Names: p.users, Domains: s.domains.Of, Wall: p.clock.wall,
	})
	p.report = s.reporter.report
	p.unsound.log, p.checkAll = s.log, s.cfg.FilterShadow
	p.throttle = newThrottle(s.cfg.ThrottleRate, s.cfg.ThrottleBurst)
	p.throttle.began, p.throttle.ended = s.reporter.throttled, s.reporter.unthrottled
	if s.deps.Capture != nil {
		p.recording = newRecording(s.deps.Capture, p, s.domains)
	}
}

// sayWhatIsMissing logs the rights without which the sensor sees less.
func (s *Sensor) sayWhatIsMissing() {
	missing, err := host.MissingCapabilities()
	if err != nil {
		s.log.Warn("own capabilities are not known", "err", err)
	}
	for _, c := range missing {
		s.log.Warn("a capability is missing", "capability", c.Name, "cost", c.Cost)
	}
	if err := s.cfg.HostRoot.Check(); err != nil {
		s.log.Warn("the host's users and sockets are not found", "err", err)
	}
}

// rouse wakes housekeeping.
func (s *Sensor) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run attaches to the kernel, matches events and delivers matches until ctx ends; then it drains its queues, for Config.DrainTimeout at
// most, and returns nil. If the machine lacks something, the error is a *kernel.RequirementError; if Deps.Capture takes no more, Run ends
// with what it said, capture.ErrFull for one. While it runs, SIGHUP and changes of the rules files load the rules anew, and SIGUSR1 opens
// the file output and starts the program of the program output anew.
func (s *Sensor) Run(ctx context.Context) error {
	s.began = time.Now()
	src, err := s.open()
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()

	outer := context.WithoutCancel(ctx)
	aside, stopAside := context.WithCancel(outer) // what feeds and tends the pipeline
	defer stopAside()
	deliver, stopDeliver := context.WithCancel(outer) // outputs and bus, which outlive it
	defer stopDeliver()
	var feeders, deliverers errgroup.Group
	for _, o := range s.outputs.List {
		deliverers.Go(func() error { return o.Run(deliver) })
	}
	if s.publisher != nil {
		deliverers.Go(func() error { return s.publisher.Run(deliver) })
	}
	feeders.Go(func() error { return s.pipeline.cgroups.Run(aside) })
	feeders.Go(func() error { return s.domains.Run(aside) })
	losses := newLosses(s, src)
	feeders.Go(func() error { return s.tend(aside, src, losses) })
	feeders.Go(func() error { return s.serve(aside) })
	feeders.Go(func() error { return s.exemptOthers(aside, src) })
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGHUP, unix.SIGUSR1)
	defer signal.Stop(signals)
	watch := s.watch()
	feeders.Go(func() error { return s.listen(aside, signals, watch) })

	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	s.pipeline.recording.onError(stopReading)
	err = s.read(reading, src)
	stopAside()
	err = errors.Join(err, feeders.Wait())
	losses.look()
	s.source.Store(nil)
	s.pipeline.release(true)
	err = errors.Join(err, s.pipeline.recording.finish())
	s.drain(outer)
	stopDeliver()
	return errors.Join(err, deliverers.Wait())
}

// open attaches to the kernel, with the rules of now. From then on reloads choose what leaves it.
func (s *Sensor) open() (Source, error) {
	s.reloadMu <- struct{}{}
	defer func() { <-s.reloadMu }()
	open := s.deps.Open
	if open == nil {
		open = openKernel
	}
	src, err := open(kernel.Config{
		RingBytes: s.cfg.RingBytes, ProcessRingBytes: s.cfg.ProcessRingBytes, Log: s.log, Registerer: s.deps.Registerer,
		HostRoot: s.cfg.HostRoot, Filter: s.plan(s.set.Load()), Record: s.cfg.Recorder.Types(), RecordRate: s.cfg.Recorder.Rate,
	})
	if err != nil {
		return nil, fmt.Errorf("attach to the kernel: %w", err)
	}
	s.source.Store(&src)
	return src, nil
}

func openKernel(cfg kernel.Config) (Source, error) {
	k, err := kernel.Open(cfg)
	if err != nil {
		return nil, err // a nil *kernel.Sensor is not a nil Source
	}
	return k, nil
}

// read takes in what was there before, and then what happens, until ctx ends.
func (s *Sensor) read(ctx context.Context, src Source) error {
	known := make(chan struct{})
	if s.pipeline.users.Load(container.Root{}, 0, func() { close(known) }) {
		<-known
	}
	if err := src.Snapshot(s.pipeline.handle); err != nil {
		return fmt.Errorf("take stock of processes: %w", err)
	}
	took := time.Since(s.began)
	s.metrics.start.Set(took.Seconds())
	s.log.Info("watching the kernel", "node", s.cfg.Node, "processes", s.processes(),
		"event_types", s.set.Load().EventTypes(extract.RuleSource).Len(), "duration", took.Round(time.Millisecond))
	if s.deps.Watching != nil {
		go s.deps.Watching() // the rings fill
	}
	if err := src.Run(ctx, s.pipeline.handle); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	return nil
}

func (s *Sensor) processes() int {
	s.pipeline.mu.Lock()
	defer s.pipeline.mu.Unlock()
	return s.pipeline.table.Stats().Processes
}

// tend releases events that waited, and once a second looks after the tables and for losses, until ctx ends.
func (s *Sensor) tend(ctx context.Context, src Source, losses *losses) error {
	const second = time.Second
	every := time.NewTicker(second)
	defer every.Stop()
	due := time.NewTimer(second)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
			s.pipeline.tend(src.Done())
			if losses.look() {
				s.restore(src)
			}
		case <-due.C:
		case <-s.wake:
		}
		if next := s.pipeline.release(false); next != 0 {
			due.Reset(max(time.Millisecond, time.Duration(next-min(next, s.pipeline.now()))))
		}
	}
}

// drain gives what is queued the time to leave.
func (s *Sensor) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DrainTimeout)
	defer cancel()
	for _, o := range s.outputs.List {
		o.Close()
	}
	if s.publisher != nil {
		if err := s.publisher.Drain(ctx); errors.Is(err, spool.ErrKept) {
			s.log.Warn("not all matches were published before the end: the next start publishes them", "err", err, "spool", s.cfg.Spool)
		} else if err != nil {
			s.log.Warn("not all matches were published before the end", "err", err)
		}
	}
	for _, o := range s.outputs.List {
		if n := o.Pending(); !o.Wait(ctx) && n > 0 {
			s.log.Warn("not all alerts were written before the end", "output", o.Name(), "alerts", o.Pending())
		}
		if n := o.Stats().Dropped; n > 0 {
			s.log.Warn("alerts found the queue of an output full", "output", o.Name(), "alerts", n)
		}
	}
}

// Ready returns nil if matches are made and leave, else what is missing. It is safe for concurrent use.
func (s *Sensor) Ready() error {
	if s.source.Load() == nil {
		return errNotAttached
	}
	if s.publisher != nil {
		return s.publisher.Ready()
	}
	return nil
}

// exemptOthers has the kernel side pass over processes that ask for it and may, until ctx ends.
func (s *Sensor) exemptOthers(ctx context.Context, src Source) error {
	if s.exempt == nil {
		return nil
	}
	if !s.pipeline.seesProcesses {
		s.log.Warn("not in the host's pid namespace: runtimes beside this sensor cannot be exempt, and rules see what they do")
		return nil
	}
	s.exempt.Run(ctx, func(pid uint32, check func() error) (exempt.Exemption, error) {
		e, err := src.Exempt(pid, check)
		if err != nil {
			return nil, err // a nil *kernel.Exemption is not a nil Exemption
		}
		return e, nil
	})
	return nil
}

// Exempt returns the processes that are exempt besides this one. It is safe for concurrent use.
func (s *Sensor) Exempt() []exempt.Peer {
	if s.exempt == nil {
		return nil
	}
	return s.exempt.Peers()
}

// Provider says what events and fields this sensor gives to rules of the source "syscall"; it asks nothing of other sources.
func Provider() rules.Provider {
	given := kernel.Given()
	return rules.Provider{
		Event: func(source string, t field.EventType) bool {
			return source != extract.RuleSource || given.Has(t)
		},
		Field: func(source string, ref *field.Ref) bool {
			return source != extract.RuleSource || extract.Given(ref)
		},
	}
}
