package process

import (
	"path"
	"strings"
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// A Config bounds a Table.
type Config struct {
	// Max is how many processes are kept, ended ones included. Positive. Default 131072.
	Max int
	// MaxBytes bounds the texts that are kept for ended processes: beyond it they go early. Positive. Default 64 MiB.
	MaxBytes int
	// MaxLiveBytes bounds those of living processes and of such as have events that wait: beyond it the programs that the largest of them
	// ran earlier are abridged and then go, and environments and long arguments. Names and paths stay. Positive. Default 32 MiB.
	MaxLiveBytes int
	// Retention is how long an ended process is kept at least, room permitting. Positive. Default 30s.
	Retention time.Duration
}

// DefaultConfig returns the defaults of Config.
func DefaultConfig() Config {
	return Config{Max: 131072, MaxBytes: 64 << 20, MaxLiveBytes: 32 << 20, Retention: 30 * time.Second}
}

// An Outside is what a table may ask the machine for when records were lost or a parent died. All of it may answer "unknown".
type Outside interface {
	// Image returns the image that the living process k runs, and its working directory.
	Image(k Key) (im *Image, cwd string, ok bool)
	// Parent returns the pid of the present parent of the living process k.
	Parent(k Key) (pid uint32, ok bool)
	// Alive reports whether a process with this pid exists.
	Alive(pid uint32) bool
}

// Stats are counters of a Table since its start, and its present size.
type Stats struct {
	Processes  int    // entries, ended ones included
	Bytes      int    // of the texts of ended ones: arguments, environments, paths
	LiveBytes  int    // of those of living ones, and of such as have events that wait
	Evicted    uint64 // ended ones that went before their time, for want of room
	Abridged   uint64 // images of living ones that lost something, or went, for want of room
	Refused    uint64 // processes that found the table full of living ones
	Incomplete uint64 // processes met without their fork, exec or snapshot
	Reaped     uint64 // processes found dead whose exit was never seen
	Unknown    uint64 // events whose program was no longer kept: theirs had started too many since
}

// A Table holds processes by Key. Make one with New.
type Table struct {
	cfg     Config
	outside Outside
	byPID   map[uint32]*Process // the newest start; the others follow in older
	near    [64]*Process        // those found lately, by the end of their pid: the map is seldom in the processor's cache
	fresh   exitList            // ended just now: events of theirs may still come
	recent  exitList            // ended, within the retention
	held    exitList            // ended, past it, still referenced
	largest largest
	stats   Stats
	sweep   []uint32
	asked   struct { // how often outside was, for lost records
		since uint64
		n     int
	}
}

// New returns an empty table. outside may be nil.
func New(cfg Config, outside Outside) *Table {
	return &Table{cfg: cfg, outside: outside, byPID: map[uint32]*Process{}}
}

// Stats returns the counters.
func (t *Table) Stats() Stats { return t.stats }

// Find returns the process k, or nil.
func (t *Table) Find(k Key) *Process {
	near := &t.near[k.PID%uint32(len(t.near))]
	if p := *near; p != nil && p.Key == k && !p.removed {
		return p
	}
	for p := t.byPID[k.PID]; p != nil; p = p.older {
		if p.StartNS == k.StartNS {
			*near = p
			return p
		}
	}
	return nil
}

// ByPID returns the process that had this pid at boot time ns, or nil.
func (t *Table) ByPID(pid uint32, ns uint64) *Process {
	for p := t.byPID[pid]; p != nil; p = p.older {
		if p.StartNS <= ns {
			return p
		}
	}
	return nil
}

// Apply takes over what ev says about processes and returns the process that did it. The result is nil only if the event names none.
// It stays valid until the next Expire; Pin keeps it longer.
func (t *Table) Apply(ev *event.Event) *Process {
	if ev.Task.PID == 0 {
		return nil
	}
	p := t.Find(Key{ev.Task.PID, ev.Task.StartNS})
	execed := isExec(ev)
	if p == nil {
		p = t.meet(&ev.Task, ev.BootNS, execed, ev.Type == field.EventProcexit)
	}
	p.observe(ev)
	t.observeParent(p, &ev.Task)
	switch {
	case execed:
		t.makeRoom()               // before: what rules are about to look at is whole
		if ev.BootNS >= p.seenNS { // not an older record
			setCwd(p, ev.Exec.Cwd)
		}
		t.setVersion(p, version{gen: ev.Task.ExecGen, image: newImage(ev), counted: true})
		p.Incomplete = false
	case ev.Fork.ChildPID != 0:
		t.fork(p, ev)
	case ev.Type == field.EventProcexit:
		t.exit(p, ev.BootNS)
	default:
		observeCwd(p, ev)
	}
	if ev.Task.ExecGen < p.since && p.Image(ev.Task.ExecGen) == nil {
		t.stats.Unknown++
	}
	return p
}

// isExec reports whether ev carries the image of its process: an exec that succeeded, or a snapshot's record.
func isExec(ev *event.Event) bool {
	switch ev.Type {
	case field.EventExecve, field.EventExecveat:
		return ev.Result >= 0
	}
	return ev.Type == field.EventProcinfo
}

// meet adds a process whose fork was not seen (yet).
func (t *Table) meet(task *event.Task, ns uint64, execed, ended bool) *Process {
	p := &Process{Key: Key{task.PID, task.StartNS}}
	t.insert(p)
	if task.PPID != 0 {
		if parent := t.Find(Key{task.PPID, task.ParentStartNS}); parent != nil && parent != p {
			t.setOrigin(p, parent)
		}
	}
	if execed {
		return p
	}
	p.Incomplete = true
	t.stats.Incomplete++
	if t.outside != nil && !ended && t.mayAsk(ns) {
		if im, cwd, ok := t.outside.Image(p.Key); ok {
			if task.Comm != "" {
				im.Name = strings.Clone(task.Comm)
			}
			t.setVersion(p, version{gen: task.ExecGen, image: im, counted: true})
			setCwd(p, cwd)
			return p
		}
	}
	t.setVersion(p, version{gen: task.ExecGen, image: &Image{Name: strings.Clone(task.Comm), MntNS: task.MntNS, partial: true}, counted: true})
	return p
}

// fork adds the child of p, or completes it if its own records came first.
func (t *Table) fork(p *Process, ev *event.Event) {
	f := &ev.Fork
	if f.ChildPID == p.PID {
		return // a thread
	}
	const cloneParent = 0x8000 // CLONE_PARENT
	k := Key{f.ChildPID, f.ChildStartNS}
	c := t.Find(k)
	if c == nil {
		c = &Process{Key: k}
		t.insert(c)
		c.VPID, c.VPGID, c.VSID, c.PGID, c.PidNS = f.ChildVPID, ev.Task.VPGID, ev.Task.VSID, ev.Task.PGID, ev.Task.PidNS
		c.CgroupID = f.ChildCgroupID
	}
	t.born(c, p)
	if f.CloneFlags&cloneParent != 0 && len(c.adopters) == 0 {
		if gp := t.Find(Key{ev.Task.PPID, ev.Task.ParentStartNS}); gp != nil && gp != c {
			t.adopt(c, gp, false)
		}
	}
	c.Incomplete = false
	t.inherit(c, p, ev.Task.ExecGen)
	if c.Cwd == "" {
		c.Cwd = p.Cwd
	}
}

// exit marks the end of p at boot time ns.
func (t *Table) exit(p *Process, ns uint64) {
	t.end(p)
	if p.late {
		p.ExitNS, p.late = 0, false
	}
	p.ExitNS = max(p.ExitNS, ns)
}

// gone marks that p ended at boot time ns at the latest.
func (t *Table) gone(p *Process, ns uint64) {
	if p.ExitNS == 0 {
		t.end(p)
		p.ExitNS, p.late = ns, true
	}
}

// end puts p among the ended ones.
func (t *Table) end(p *Process) {
	if p.ExitNS == 0 && !p.removed && p.pins == 0 {
		t.retire(p)
	}
}

// insert adds p, which is not in the table, making room if there is none.
func (t *Table) insert(p *Process) {
	for t.stats.Bytes > t.cfg.MaxBytes && t.evict() {
	}
	t.makeRoom()
	if t.stats.Processes >= t.cfg.Max && !t.evict() {
		t.stats.Refused++
		p.removed = true // the caller may use it, the table does not know it
		return
	}
	t.stats.Processes++
	head := t.byPID[p.PID]
	if head == nil || head.StartNS <= p.StartNS {
		p.older = head
		t.byPID[p.PID] = p
	} else {
		at := head
		for at.older != nil && at.older.StartNS > p.StartNS {
			at = at.older
		}
		p.older, at.older = at.older, p
		t.gone(p, at.StartNS)
	}
	if p.older != nil && p.older.ExitNS == 0 { // the pid was free again before p started
		t.gone(p.older, p.StartNS)
		t.stats.Reaped++
	}
}

// Pin keeps p valid until Unpin and the Expire that follows, whatever room is wanted, and its image of exec generation gen as it is.
func (t *Table) Pin(p *Process, gen uint32) {
	if p == nil {
		return
	}
	p.refs++
	p.pins++
	if p.retired && !p.removed {
		t.reuse(p)
	}
	for i := len(p.versions) - 1; i >= 0; i-- {
		if v := &p.versions[i]; v.gen <= gen {
			p.get(v)
			v.pin()
			break
		}
	}
}

// Unpin ends a Pin.
func (t *Table) Unpin(p *Process) {
	if p == nil {
		return
	}
	if p.pins--; p.pins == 0 {
		for i := range p.versions {
			p.versions[i].unpin()
		}
		if p.ExitNS != 0 && !p.removed {
			t.retire(p)
		} else {
			t.weigh(p)
		}
	}
	t.release(p)
}

func setCwd(p *Process, cwd string) {
	if cwd == "" || p.Cwd == cwd {
		return
	}
	p.Cwd = strings.Clone(cwd)
}

// observeCwd learns the working directory of p from the calls that tell it.
func observeCwd(p *Process, ev *event.Event) {
	const atFDCWD = -100
	switch ev.Type {
	case field.EventOpen, field.EventCreat:
		setCwd(p, ev.Open.Path.Dir)
	case field.EventOpenat, field.EventOpenat2:
		if ev.Open.DirFD == atFDCWD {
			setCwd(p, ev.Open.Path.Dir)
		}
	case field.EventChdir:
		if to := &ev.Path[0]; ev.Result >= 0 && (to.Dir != "" || strings.HasPrefix(to.Raw, "/")) {
			setCwd(p, path.Clean(to.Dir+"/"+to.Raw))
		}
	case field.EventFchdir:
		if ev.Result >= 0 {
			setCwd(p, ev.Open.Path.Resolved)
		}
	}
}
