package sensor

import (
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor/capture"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/domain"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/extract"
	"github.com/tiercel-project/tiercel/sensor/process"
)

// A Replay drives what a capture holds through the pipeline of a sensor. The same file and rules give the same alerts, whatever the machine
// and the time: nothing but the file is asked.
type Replay struct {
	// Rules returns the rules, for the machine that the header describes. Required.
	Rules func(capture.Header) (*rules.Set, error)
	// Alert takes the alerts, in the order of the file. Required.
	Alert func(*rules.Alert)

	// Events is how many events the file held, those that only tell of processes included.
	Events uint64
}

// Run replays the file name. Where the file is cut short or damaged, what is whole before that is replayed and the *capture.Error is
// returned.
func (r *Replay) Run(name string) error {
	known, broken := readKnown(name)
	if known == nil {
		return broken
	}
	set, err := r.Rules(known.header)
	if err != nil {
		return err
	}
	p, clock := known.pipeline()
	now := uint64(0)
	p.now = func() uint64 { return now }
	p.report = func(m *match) {
		r.Alert(m.matcher.Alert(m.rule, m.event))
	}
	p.setRules(set, 0)
	def := DefaultConfig()
	p.throttle = newThrottle(def.ThrottleRate, def.ThrottleBurst)
	file, err := capture.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	tended := uint64(0)
	err = file.Visit(capture.Visitor{
		Clock: func(offset int64) error { clock.offset.Store(offset); return nil },
		Event: func(ev *event.Event) error {
			r.Events++
			if now = max(now, ev.ReadNS); now-tended >= uint64(time.Second) {
				tended = now
				p.table.Expire(now)
				p.throttle.expire(now)
			}
			p.handle(ev)
			return nil
		},
	})
	if err == nil {
		err = broken // the file grew in between
	}
	return err
}

// known is what a capture tells that is not in its events.
type known struct {
	header     capture.Header
	containers map[string]*container.Info
	users      []*capture.Names
	domains    capture.Domains
}

// readKnown reads all but the events. Names may stand behind the events that need them. It returns nil if not even the header is there.
func readKnown(name string) (*known, error) {
	file, err := capture.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	k := &known{header: file.Header, containers: map[string]*container.Info{}}
	err = file.Visit(capture.Visitor{
		Container: func(c *capture.Container) error { k.containers[c.ID.Container] = c.Info; return nil },
		Names:     func(n *capture.Names) error { k.users = append(k.users, n); return nil },
		Domains:   func(d capture.Domains) error { k.domains = d; return nil },
	})
	return k, err
}

// pipeline returns a pipeline that knows what k tells, and asks nobody else.
func (k *known) pipeline() (*pipeline, *clock) {
	log := slog.New(slog.DiscardHandler)
	cc := container.DefaultConfig()
	cc.Known = func(id container.ID) *container.Info { return k.containers[id.Container] }
	cc.MaxCgroups = math.MaxInt32 // which one has to go is not the same each time
	clock := new(clock)
	clock.offset.Store(k.header.BootOffsetNS)
	p := &pipeline{
		clock: clock, metrics: newMetrics(prometheus.NewRegistry()), wake: make(chan struct{}, 1),
		cgroups: container.NewTable(cc, nil, nil, log), users: container.NewUsers(container.DefaultUsersConfig()),
		table: process.New(process.DefaultConfig(), nil),
	}
	for _, n := range k.users {
		p.users.Put(n.Root, n.Users, n.Groups)
	}
	domains := domain.New(domain.DefaultConfig(), nil, log)
	domains.Put(k.domains)
	p.extract = extract.New(extract.Config{
		Hostname: k.header.Hostname, Table: p.table, Names: p.users, Domains: domains.Of, Wall: clock.wall,
	})
	return p, clock
}
