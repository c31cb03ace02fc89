package container

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Errors of a Resolver.
var (
	// ErrNotFound means that the runtime answered and does not know the container (yet).
	ErrNotFound = errors.New("no such container")
	// ErrUnavailable means that there is nobody to ask: no socket, or no answer on it.
	ErrUnavailable = errors.New("container runtime not available")
)

// A Resolver knows the names of containers. It is safe for concurrent use.
type Resolver interface {
	// Resolve returns what is known about id. Its errors wrap ErrNotFound or ErrUnavailable where they apply.
	Resolve(ctx context.Context, id ID) (*Info, error)
	// String names the resolver in logs: "docker /var/run/docker.sock".
	String() string
}

// A Config bounds a Table.
type Config struct {
	// MaxCgroups is how many cgroups are remembered. Positive. Default 16384.
	MaxCgroups int
	// Timeout is how long the names of a container are asked for before it counts as unresolved. Positive. Default 500ms.
	Timeout time.Duration
	// Retry is how long after that an event of the container makes it be asked for again. Positive. Default 10s.
	Retry time.Duration
	// Workers is how many containers are asked for at the same time. Positive. Default 4.
	Workers int
	// Known tells of a container at its first sight, before any Resolver; nil, or a nil answer: it is not known. For replays.
	Known func(ID) *Info
}

// DefaultConfig returns the defaults of Config.
func DefaultConfig() Config {
	return Config{MaxCgroups: 16384, Timeout: 500 * time.Millisecond, Retry: 10 * time.Second, Workers: 4}
}

// maxAsked is how many containers may wait for a worker.
const maxAsked = 1024

// Stats are counters of a Table.
type Stats struct {
	Cgroups    int
	Containers int
	Evicted    uint64 // cgroups forgotten for want of room
	Resolved   uint64
	Unresolved uint64
}

// A Table maps cgroups to identities. SetPath, Drop, Expire and Lookup belong to one goroutine at a time; Run works beside it.
type Table struct {
	cfg       Config
	resolvers []Resolver
	log       *slog.Logger
	now       func() time.Time

	cgroups    map[key]*entry
	containers map[string]*member
	gone       []key  // in the order of their going
	clock      uint64 // counts lookups, for eviction
	evicted    uint64

	asked      chan *member
	notify     func(container string)
	resolved   atomic.Uint64
	unresolved atomic.Uint64
}

type key struct {
	id uint64
	v1 bool
}

// An entry is a cgroup.
type entry struct {
	path string
	m    *member // nil: the host
	used uint64
	gone time.Time // zero while it is there
}

// A member is a container with at least one known cgroup.
type member struct {
	id       ID
	cgroups  int
	identity atomic.Pointer[Identity]
	again    atomic.Int64 // unix ns from which on an unresolved one is asked for again; 0 while it is being asked for
}

// NewTable returns an empty table that asks resolvers in their order. notify is called, from Run's goroutines, with the id of each
// container whose identity left Pending; it may be nil.
func NewTable(cfg Config, resolvers []Resolver, notify func(container string), log *slog.Logger) *Table {
	if notify == nil {
		notify = func(string) {}
	}
	return &Table{
		cfg: cfg, resolvers: resolvers, notify: notify, log: log, now: time.Now,
		cgroups: map[key]*entry{}, containers: map[string]*member{}, asked: make(chan *member, maxAsked),
	}
}

// Stats returns the counters. It belongs to the goroutine that looks up.
func (t *Table) Stats() Stats {
	return Stats{
		Cgroups: len(t.cgroups), Containers: len(t.containers), Evicted: t.evicted,
		Resolved: t.resolved.Load(), Unresolved: t.unresolved.Load(),
	}
}

// SetPath says what the path of a cgroup is. It returns the identity of the processes in it. It does not keep path itself, which may be
// memory of a ring.
func (t *Table) SetPath(id uint64, v1 bool, path string) *Identity {
	k := key{id, v1}
	if e := t.cgroups[k]; e != nil {
		if e.path == path {
			e.gone = time.Time{}
			return t.identity(e)
		}
		t.forget(k)
	}
	if len(t.cgroups) >= t.cfg.MaxCgroups {
		t.evict()
	}
	path = strings.Clone(path)
	e := &entry{path: path, used: t.clock}
	t.cgroups[k] = e
	if cid, ok := ParsePath(path); ok {
		e.m = t.member(cid)
		e.m.cgroups++
	}
	return t.identity(e)
}

// Drop says that a cgroup is gone. It is remembered until Expire: events of its processes may still wait.
func (t *Table) Drop(id uint64, v1 bool) {
	if e := t.cgroups[key{id, v1}]; e != nil && e.gone.IsZero() {
		e.gone = t.now()
		t.gone = append(t.gone, key{id, v1})
	}
}

// Expire forgets the cgroups that were gone for longer than keep.
func (t *Table) Expire(keep time.Duration) {
	now, n := t.now(), 0
	for ; n < len(t.gone); n++ {
		e := t.cgroups[t.gone[n]]
		if e == nil || e.gone.IsZero() {
			continue // evicted, or there again
		}
		if now.Sub(e.gone) < keep {
			break
		}
		t.forget(t.gone[n])
	}
	t.gone = append(t.gone[:0], t.gone[n:]...)
}

// forget takes a cgroup out of the table.
func (t *Table) forget(k key) {
	e := t.cgroups[k]
	delete(t.cgroups, k)
	if e.m != nil {
		if e.m.cgroups--; e.m.cgroups == 0 {
			delete(t.containers, e.m.id.Container)
		}
	}
}

// Lookup returns the identity of the processes in a cgroup, or nil if its path is not known.
func (t *Table) Lookup(id uint64, v1 bool) *Identity {
	e := t.cgroups[key{id, v1}]
	if e == nil {
		return nil
	}
	t.clock++
	e.used = t.clock
	return t.identity(e)
}

// Path returns the path of a cgroup, empty if it is not known.
func (t *Table) Path(id uint64, v1 bool) string {
	if e := t.cgroups[key{id, v1}]; e != nil {
		return e.path
	}
	return ""
}

// Each calls f for every container with a known cgroup.
func (t *Table) Each(f func(*Identity)) {
	for _, m := range t.containers {
		f(m.identity.Load())
	}
}

func (t *Table) identity(e *entry) *Identity {
	if e.m == nil {
		return HostIdentity
	}
	i := e.m.identity.Load()
	if i.State == Unresolved && len(t.resolvers) > 0 {
		t.askAgain(e.m)
	}
	return i
}

// member returns the container id, which is asked for if it is new.
func (t *Table) member(id ID) *member {
	if m := t.containers[id.Container]; m != nil {
		return m
	}
	m := &member{id: id}
	t.containers[id.Container] = m
	if t.cfg.Known != nil {
		if info := t.cfg.Known(id); info != nil {
			t.settle(m, info)
			return m
		}
	}
	m.identity.Store(&Identity{ID: id, State: Pending})
	if len(t.resolvers) == 0 {
		m.identity.Store(&Identity{ID: id, State: Unresolved})
		t.unresolved.Add(1)
		return m
	}
	select {
	case t.asked <- m:
	default:
		t.settle(m, nil)
	}
	return m
}

// askAgain asks for an unresolved container anew if it was not for a while. Its state stays, so no event waits for that.
func (t *Table) askAgain(m *member) {
	at := m.again.Load()
	if at == 0 || t.now().UnixNano() < at || !m.again.CompareAndSwap(at, 0) {
		return
	}
	select {
	case t.asked <- m:
	default:
		m.again.Store(t.now().Add(t.cfg.Retry).UnixNano())
	}
}

// evict forgets the cgroup that was looked up longest ago, among some.
func (t *Table) evict() {
	const look = 64 // map order is random enough to find an old one
	var oldest key
	used, n := uint64(1<<63), 0
	for k, e := range t.cgroups {
		if e.used < used {
			oldest, used = k, e.used
		}
		if n++; n == look {
			break
		}
	}
	t.forget(oldest)
	t.evicted++
}

// Run asks for the names of containers until ctx ends.
func (t *Table) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range t.cfg.Workers {
		g.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case m := <-t.asked:
					t.settle(m, t.ask(ctx, m.id))
				}
			}
		})
	}
	return g.Wait()
}

// ask returns what the resolvers know of id within the timeout, or nil.
func (t *Table) ask(ctx context.Context, id ID) *Info {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		worth := false
		for _, r := range t.resolvers {
			info, err := r.Resolve(ctx, id)
			if err == nil {
				return info
			}
			t.log.Debug("container not resolved", "container", id.Short(), "resolver", r.String(), "err", err)
			worth = worth || errors.Is(err, ErrNotFound) // a runtime may learn of its container after the kernel does
		}
		if !worth {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// settle ends the asking for m with what was learned: nil is nothing.
func (t *Table) settle(m *member, info *Info) {
	if info == nil {
		m.again.Store(t.now().Add(t.cfg.Retry).UnixNano())
		if m.identity.Load().State != Unresolved {
			t.unresolved.Add(1)
		}
		m.identity.Store(&Identity{ID: m.id, State: Unresolved})
		t.notify(m.id.Container)
		return
	}
	id := m.id
	if id.Runtime == "" {
		id.Runtime = info.Runtime
	}
	if id.PodUID == "" {
		id.PodUID = info.Pod.UID
	}
	t.resolved.Add(1)
	m.identity.Store(&Identity{ID: id, State: Resolved, Info: info})
	t.notify(m.id.Container)
}
