package extract

import (
	"net/netip"
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/process"
)

// RuleSource is the source of the events of this package.
const RuleSource = "syscall"

// A Names knows users and groups. Methods return false for what is unknown.
type Names interface {
	User(root container.Root, uid uint32) (container.User, bool)
	Group(root container.Root, gid uint32) (string, bool)
}

// A Config is what all events have in common.
type Config struct {
	Hostname string
	Table    *process.Table
	Names    Names
	// Domains returns the names that rules know an address by, sorted. Nil: none.
	Domains func(netip.Addr) []string
	// Wall converts a boot time to nanoseconds since the epoch.
	Wall func(bootNS uint64) int64
}

// An Extractor makes Events, one at a time. It belongs to one goroutine at a time.
type Extractor struct {
	cfg   Config
	first int64 // time of the first event
	last  int64 // time of the event before
	caps  map[uint64]string
	e     Event
}

// New returns an Extractor.
func New(cfg Config) *Extractor {
	if cfg.Domains == nil {
		cfg.Domains = func(netip.Addr) []string { return nil }
	}
	x := &Extractor{cfg: cfg, caps: map[uint64]string{}}
	x.e.x = x
	return x
}

// Bind returns ev as the rules see it. p is what process.Table.Apply returned for ev, id the identity of its container; neither is nil.
// The Event is valid until the next Bind.
func (x *Extractor) Bind(ev *event.Event, p *process.Process, id *container.Identity) *Event {
	e := &x.e
	*e = Event{
		x: x, ev: ev, proc: p, id: id, image: p.Image(ev.Task.ExecGen), time: x.cfg.Wall(ev.BootNS),
		buf: e.buf[:0], ancestors: e.ancestors[:0], lineage: e.lineage[:0],
	}
	if e.image == nil {
		e.image = &noImage
	}
	if x.first == 0 {
		x.first = e.time
	}
	e.before, x.last = x.last, e.time
	if e.before == 0 {
		e.before = e.time
	}
	return e
}

// noImage stands for an image that is not known.
var noImage process.Image

// An Event is a kernel event as rules see it. It implements field.Event.
type Event struct {
	x      *Extractor
	ev     *event.Event
	proc   *process.Process
	image  *process.Image
	id     *container.Identity
	time   int64 // ns since the epoch
	before int64 // time of the event before

	parent      *process.Process
	parentKnown bool
	ancestors   []*process.Process
	climbed     bool
	lineage     []*process.Process
	traced      bool
	fdInfo      fdInfo
	paths       [3]pathForms // the open's, and the two of Event.Path

	arg arg    // the argument looked at
	buf []byte // backs strings made for this event
}

var _ field.Event = (*Event)(nil)

// Type implements field.Event.
func (e *Event) Type() field.EventType { return e.ev.Type }

// Time implements field.Event.
func (e *Event) Time() time.Time { return time.Unix(0, e.time) }

// RuleSource implements field.Event.
func (e *Event) RuleSource() string { return RuleSource }

// TwoForms implements field.Event.
func (e *Event) TwoForms() bool {
	for i := range e.paths {
		if p := e.path(i); p.resolved != p.passed {
			return true
		}
	}
	return false
}

// Extract implements field.Event.
func (e *Event) Extract(ref *field.Ref, form field.Form, v *field.Value) bool {
	if int(ref.ID) >= len(getters) {
		return false
	}
	get := getters[ref.ID]
	return get != nil && get(e, ref, form, v)
}

// Given reports whether ref can ever have a value.
func Given(ref *field.Ref) bool {
	if int(ref.ID) >= len(getters) || getters[ref.ID] == nil {
		return false
	}
	switch ref.ID {
	case field.EvtArg, field.EvtRawarg:
		return ref.Index >= 0 || givenParams[ref.Arg]
	}
	return true
}

// Unknown reports whether ref may get another value in an event of id's container: once the names of the container are known, if id is
// Pending, and with reading, once those of its users and groups are.
func Unknown(ref *field.Ref, id *container.Identity, reading bool) bool {
	pending := id.State == container.Pending
	switch ref.ID {
	case field.ContainerID, field.ContainerFullID, field.UserUID, field.UserLoginuid, field.GroupGID:
		return false
	case field.ContainerType:
		return pending && id.Runtime == ""
	case field.K8sPodUID, field.K8sPodID:
		return pending && id.PodUID == ""
	case field.TiercelIdentity:
		return pending
	case field.EvtArg, field.EvtArgs, field.EvtInfo:
		return reading // ids are rendered as names
	}
	switch ref.ID.Info().Class {
	case field.ContainerID.Info().Class:
		return pending
	case field.UserName.Info().Class, field.GroupName.Info().Class:
		return reading
	}
	return false
}

// up returns the parent of the process at the time of the event, or nil.
func (e *Event) up() *process.Process {
	if !e.parentKnown {
		e.parent = e.x.cfg.Table.ParentOf(e.proc, &e.ev.Task, e.ev.BootNS)
		e.parentKnown = true
	}
	return e.parent
}

// all returns the ancestors, the parent first.
func (e *Event) all() []*process.Process {
	if !e.climbed {
		e.climbed = true
		if first := e.up(); first != nil {
			e.ancestors = e.x.cfg.Table.Ancestors(e.ancestors, e.proc, first, e.ev.BootNS)
		}
	}
	return e.ancestors
}

// forebears returns those who forked the process, the nearest first.
func (e *Event) forebears() []*process.Process {
	if !e.traced {
		e.traced = true
		e.lineage = e.x.cfg.Table.Lineage(e.lineage, e.proc)
	}
	return e.lineage
}

// imageOf returns what p ran at the time of the event.
func (e *Event) imageOf(p *process.Process) *process.Image {
	if p == e.proc {
		return e.image
	}
	if im := p.ImageAt(e.ev.BootNS); im != nil {
		return im
	}
	return &noImage
}
