package process

import (
	"slices"

	"github.com/tiercel-project/tiercel/sensor/event"
)

// A Key names a process for ever: pids are reused, pairs of pid and start are not.
type Key struct {
	PID     uint32 // thread group id in the initial pid namespace
	StartNS uint64 // boot time of its leader's start
}

// A Process is a process, alive or lately ended. Its exported fields are the latest known ones; Table owns and changes them.
type Process struct {
	Key
	VPID, VPGID, VSID uint32 // in its own pid namespace
	PGID              uint32
	PidNS             uint32
	CgroupID          uint64
	Cwd               string // "" if unknown
	ExitNS            uint64 // boot time of its end; 0 while alive
	// Incomplete says that neither its fork, its exec nor the snapshot was seen: a record was lost.
	Incomplete bool

	seenNS   uint64     // boot time of the newest event that updated the fields
	versions []version  // ascending by gen, at most maxVersions
	room     [2]version // for versions: few processes have more
	since    uint32     // some images of generations before it were let go: only those that are there are known
	sinceNS  uint64     // boot time from which on all are there
	origin   *Process   // who forked it; nil: unknown
	late     bool       // ExitNS is when it was found to have ended
	forked   bool       // origin is what the record of the fork said, not the parent it was first met with
	adopters []adopter  // who looked after it since, oldest first
	older    *Process   // earlier process with the same pid
	refs     int        // children that point here, and pins
	pins     int
	bytes    int      // that are counted for it in its pool, without images in use
	tries    uint8    // how often its image or reaper was asked for outside
	expired  bool     // past the retention: goes once refs is 0
	retired  bool     // ended, and no event of it waits
	removed  bool     // no longer in the table
	next     *Process // in the list of retired ones, or of the largest ones in use
	prev     *Process
	list     *exitList
}

// A version is an image from an exec generation on.
type version struct {
	gen   uint32
	image *Image // nil: still to be taken from the process that forked this one
	from  *Process
	of    uint32 // generation of from
	// counted says that the process is one of the image's users, or if it is retired, that the image is in its bytes.
	counted bool
	pinned  bool // an event waits that asks for it
}

// get returns the image of v, a version of p. One that is to be taken over is, as soon as the record of that exec has arrived.
func (p *Process) get(v *version) *Image {
	if v.image != nil {
		return v.image
	}
	if im := v.from.exact(v.of); im != nil {
		v.image, v.from = im, nil
		if p.inUse() {
			v.count()
		}
		return im
	}
	return v.from.Image(v.of)
}

// exact returns the image of generation gen if its own record has been seen.
func (p *Process) exact(gen uint32) *Image {
	for i := range p.versions {
		v := &p.versions[i]
		if v.gen != gen {
			continue
		}
		if v.image == nil {
			return v.from.exact(v.of)
		}
		if !v.image.partial {
			return v.image
		}
	}
	return nil
}

// An adopter is a process that became the parent after the death of the one before.
type adopter struct {
	p       *Process
	guessed bool // not reported by the kernel
}

const (
	// maxVersions is how many images of one process are kept: an event may be handed out half a second after its call, and a program is
	// replaced by another within a millisecond.
	maxVersions = 64
	// maxWhole is how many of them, the newest, are kept as they were; the others are brief.
	maxWhole    = 4
	maxAdopters = 3
)

// Image returns the image of exec generation gen: the newest one that is not newer; nil if that is not known. It is never a later program's.
func (p *Process) Image(gen uint32) *Image {
	for i := len(p.versions) - 1; i >= 0; i-- {
		if v := &p.versions[i]; v.gen == gen || v.gen < gen && gen >= p.since {
			return p.get(v)
		}
	}
	return nil
}

// ImageAt returns the image at boot time ns; nil if that is not known. It is never a later program's.
func (p *Process) ImageAt(ns uint64) *Image {
	if ns < p.sinceNS {
		return nil
	}
	for i := len(p.versions) - 1; i >= 0; i-- {
		if im := p.get(&p.versions[i]); im != nil && im.TimeNS <= ns {
			return im
		}
	}
	return nil
}

// Origin returns who forked p, alive or dead; nil if that is unknown.
func (p *Process) Origin() *Process { return p.origin }

// deadAt reports whether p had ended by boot time ns.
func (p *Process) deadAt(ns uint64) bool { return p.ExitNS != 0 && p.ExitNS <= ns }

// setVersion records v for p. What is known for its generation already is replaced unless it is as good.
func (t *Table) setVersion(p *Process, v version) {
	v.counted = v.counted && p.retired // else weigh does it
	i := 0
	for i < len(p.versions) && p.versions[i].gen < v.gen {
		i++
	}
	if i < len(p.versions) && p.versions[i].gen == v.gen {
		if old := &p.versions[i]; old.image != nil && old.image == v.image {
			return
		} else if (old.image != nil && old.image.partial) || (v.image != nil && !v.image.partial) {
			pinned := old.pinned
			t.drop(p, old)
			old.unpin()
			*old = v
			if pinned {
				old.pin()
			}
			t.weigh(p)
		}
		return
	}
	if p.versions == nil {
		p.versions = p.room[:0]
	}
	p.versions = append(p.versions, version{})
	if len(p.versions) == len(p.room)+1 {
		p.room = [len(p.room)]version{} // they have moved
	}
	copy(p.versions[i+1:], p.versions[i:])
	p.versions[i] = v
	for j := range max(0, len(p.versions)-maxWhole) {
		if o := &p.versions[j]; j != i && !o.pinned && o.image != nil && !o.image.brief { // v's own event is being looked at
			t.drop(p, o)
			o.image, o.counted = o.image.abridged(), p.retired
		}
	}
	if len(p.versions) > maxVersions {
		oldest := 0
		for j := range len(p.versions) - 1 {
			if j != i && !p.versions[j].pinned {
				oldest = j
				break
			}
		}
		t.forget(p, oldest)
	}
	t.weigh(p)
}

// forget lets go of version i of p, which is not the newest.
func (t *Table) forget(p *Process, i int) {
	p.since = max(p.since, p.versions[i].gen+1)
	if im := p.get(&p.versions[i+1]); im != nil {
		p.sinceNS = max(p.sinceNS, im.TimeNS)
	}
	t.drop(p, &p.versions[i])
	p.versions[i].unpin()
	p.versions = slices.Delete(p.versions, i, i+1)
}

// pin keeps the image of v as it is.
func (v *version) pin() {
	if !v.pinned && v.image != nil {
		v.pinned = true
		v.image.pins++
	}
}

func (v *version) unpin() {
	if v.pinned {
		v.pinned = false
		v.image.pins--
	}
}

// inherit records what p got from parent at its fork.
func (t *Table) inherit(p, parent *Process, gen uint32) {
	if im := parent.exact(gen); im != nil {
		t.setVersion(p, version{image: im})
		return
	}
	t.setVersion(p, version{from: parent, of: gen})
}

// observe takes over what ev says of p, unless something newer did.
func (p *Process) observe(ev *event.Event) {
	t, ns := &ev.Task, ev.BootNS
	if ns < p.seenNS {
		return
	}
	p.seenNS = ns
	if ev.Flags&event.Brief == 0 || ev.Fork.ChildPID != 0 {
		p.VPID, p.VPGID, p.VSID, p.PGID, p.PidNS, p.CgroupID = t.VPID, t.VPGID, t.VSID, t.PGID, t.PidNS, t.CgroupID
	}
	if p.ExitNS != 0 && ns > p.ExitNS {
		p.ExitNS, p.late = ns, false // a thread outlived the record that ended its process
	}
}

// lean drops what only events of p are asked for.
func (p *Process) lean() {
	for i := range p.versions {
		if v := &p.versions[i]; v.counted && v.image.users == 0 {
			v.image.lean()
		}
	}
}

// shrink drops what lineage does not need of p, which is not in the table.
func (p *Process) shrink() {
	if n := len(p.versions); n > 0 {
		last := &p.versions[n-1]
		im, gen := p.get(last), last.gen
		p.versions, p.room = nil, [len(p.room)]version{}
		if im != nil {
			p.versions = append(p.room[:0], version{gen: gen, image: im.stub()})
		}
	}
	p.Cwd = ""
}

// An exitList is a list of processes in the order in which they were put there: of ended ones, that in which their end was learned.
type exitList struct{ head, tail *Process }

func (l *exitList) push(p *Process) {
	p.list, p.prev, p.next = l, l.tail, nil
	if l.tail == nil {
		l.head = p
	} else {
		l.tail.next = p
	}
	l.tail = p
}

func (l *exitList) remove(p *Process) {
	if p.prev == nil {
		l.head = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		l.tail = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.list, p.prev, p.next = nil, nil, nil
}
