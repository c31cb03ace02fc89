package process

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// A world is a machine whose processes are known: what a table should find out from its records.
type world struct {
	rnd   *rand.Rand
	now   uint64
	alive []*task
	log   []*record
}

// A task is a process of a world.
type task struct {
	pid    uint32
	start  uint64
	gen    uint32
	name   string
	parent *task // at present
	origin *task
	ended  bool
}

// A record is an event with what is true of it.
type record struct {
	ev        event.Event
	name      string
	ancestors []string // at that time, nearest first
	lineage   []string
}

func newWorld(seed uint64) *world {
	w := &world{rnd: rand.New(rand.NewPCG(seed, 1)), now: 1000}
	w.alive = []*task{{pid: 1, start: 1, name: "init"}}
	w.emit(w.alive[0], field.EventProcinfo, nil)
	return w
}

func (t *task) id() string { return fmt.Sprintf("%d@%d:%s", t.pid, t.start, t.name) }

// emit adds a record of what p did.
func (w *world) emit(p *task, typ field.EventType, more func(*event.Event)) {
	w.now += 10
	r := &record{name: p.name}
	r.ev = event.Event{Type: typ, BootNS: w.now, Task: event.Task{
		PID: p.pid, TID: p.pid, VPID: p.pid, StartNS: p.start, ExecGen: p.gen, Comm: p.name, PidNS: 1,
	}}
	if p.parent != nil {
		r.ev.Task.PPID, r.ev.Task.ParentStartNS = p.parent.pid, p.parent.start
	}
	if typ == field.EventProcinfo || typ == field.EventExecve {
		r.ev.Exec.Exe = p.name
	}
	for q := p.parent; q != nil; q = q.parent {
		r.ancestors = append(r.ancestors, q.id())
	}
	for q := p.origin; q != nil; q = q.origin {
		r.lineage = append(r.lineage, fmt.Sprintf("%d@%d", q.pid, q.start))
	}
	if more != nil {
		more(&r.ev)
	}
	w.log = append(w.log, r)
}

func (w *world) pid() uint32 {
	for { // few pids, so that they are used again soon
		pid := 2 + w.rnd.Uint32N(40)
		if !slices.ContainsFunc(w.alive, func(t *task) bool { return t.pid == pid }) {
			return pid
		}
	}
}

// step lets something happen.
func (w *world) step() {
	p := w.alive[w.rnd.IntN(len(w.alive))]
	switch w.rnd.IntN(5) {
	case 0:
		if len(w.alive) > 30 {
			return
		}
		c := &task{pid: w.pid(), start: w.now + 5, name: p.name, parent: p, origin: p}
		w.emit(p, field.EventClone, func(ev *event.Event) {
			ev.Fork = event.Fork{ChildPID: c.pid, ChildTID: c.pid, ChildVPID: c.pid, ChildStartNS: c.start}
		})
		w.alive = append(w.alive, c)
	case 1:
		if p.gen == maxVersions-1 {
			return // the table answers for the last images only
		}
		p.gen++
		p.name = fmt.Sprintf("prog%d", w.now)
		w.emit(p, field.EventExecve, nil)
	case 2:
		if p.pid == 1 {
			return
		}
		w.emit(p, field.EventProcexit, nil)
		p.ended = true
		w.alive = slices.DeleteFunc(w.alive, func(t *task) bool { return t == p })
		for _, c := range w.alive {
			if c.parent == p {
				c.parent = w.alive[0]
			}
		}
	default:
		w.emit(p, field.EventOpenat, nil)
	}
}

// answer is what table says of r.
func answer(table *Table, r *record) (name string, ancestors, lineage []string) {
	p := table.Find(Key{r.ev.Task.PID, r.ev.Task.StartNS})
	if p == nil {
		return "not found", nil, nil
	}
	name = p.Image(r.ev.Task.ExecGen).Name
	first := table.ParentOf(p, &r.ev.Task, r.ev.BootNS)
	for _, q := range table.Ancestors(nil, p, first, r.ev.BootNS) {
		ancestors = append(ancestors, fmt.Sprintf("%d@%d:%s", q.PID, q.StartNS, q.ImageAt(r.ev.BootNS).Name))
	}
	for _, q := range table.Lineage(nil, p) {
		lineage = append(lineage, fmt.Sprintf("%d@%d", q.PID, q.StartNS))
	}
	return name, ancestors, lineage
}

// shuffle returns the log with records moved by at most reach places.
func shuffle(rnd *rand.Rand, log []*record, reach int) []*record {
	type placed struct {
		r  *record
		at int
	}
	ps := make([]placed, len(log))
	for i, r := range log {
		ps[i] = placed{r, i + rnd.IntN(reach+1)}
	}
	slices.SortStableFunc(ps, func(a, b placed) int { return a.at - b.at })
	out := make([]*record, len(log))
	for i, p := range ps {
		out[i] = p.r
	}
	return out
}

// TestInterleavings: whatever the order in which the records of a history arrive, the table ends up with the same answers, the true ones,
// for every moment of it.
func TestInterleavings(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(seed)
		for range 150 {
			w.step()
		}
		for _, reach := range []int{0, 3, 30, 10_000} {
			table := New(DefaultConfig(), nil)
			for _, r := range shuffle(w.rnd, w.log, reach) {
				table.Apply(&r.ev)
			}
			for i, r := range w.log {
				if r.ev.Type == field.EventProcinfo {
					continue
				}
				name, ancestors, lineage := answer(table, r)
				if name != r.name {
					t.Fatalf("seed %d reach %d record %d: name %q, want %q", seed, reach, i, name, r.name)
				}
				if diff := cmp.Diff(r.ancestors, ancestors); diff != "" {
					t.Fatalf("seed %d reach %d record %d %s: ancestors (-want +got):\n%s", seed, reach, i, r.ev.Type, diff)
				}
				if diff := cmp.Diff(r.lineage, lineage); diff != "" {
					t.Fatalf("seed %d reach %d record %d: lineage (-want +got):\n%s", seed, reach, i, diff)
				}
			}
		}
	}
}

// TestInOrder: fed in order, the table has the true answer at once, when the event is handled.
func TestInOrder(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(seed)
		for range 200 {
			w.step()
		}
		table := New(DefaultConfig(), nil)
		for i, r := range w.log {
			p := table.Apply(&r.ev)
			name, ancestors, lineage := answer(table, r)
			if p == nil || p.Incomplete || name != r.name || !slices.Equal(ancestors, r.ancestors) || !slices.Equal(lineage, r.lineage) {
				t.Fatalf("seed %d record %d: got %q %v %v, want %q %v %v", seed, i, name, ancestors, lineage, r.name, r.ancestors, r.lineage)
			}
		}
		if n := table.Stats().Incomplete; n != 0 {
			t.Fatalf("seed %d: %d processes incomplete", seed, n)
		}
	}
}

// fork returns the record of a fork.
func fork(parent, child Key, ns uint64) *event.Event {
	return &event.Event{
		Type: field.EventClone, BootNS: ns, Task: event.Task{PID: parent.PID, StartNS: parent.StartNS, Comm: "p"},
		Fork: event.Fork{ChildPID: child.PID, ChildStartNS: child.StartNS},
	}
}

func exit(k Key, ns uint64) *event.Event {
	return &event.Event{Type: field.EventProcexit, BootNS: ns, Task: event.Task{PID: k.PID, StartNS: k.StartNS}}
}

func TestRetention(t *testing.T) {
	table := New(Config{Max: 100, MaxBytes: 1 << 20, MaxLiveBytes: 1 << 20, Retention: 30 * time.Second}, nil)
	a, b := Key{10, 1}, Key{11, 2}
	table.Apply(fork(a, b, 2))
	table.Apply(exit(a, 1e9))
	table.Expire(30e9)
	if table.Find(a) == nil {
		t.Error("ended process forgotten within the retention")
	}
	table.Expire(31e9 + 1)
	if table.Find(a) == nil {
		t.Error("ended process forgotten while its child lives")
	}
	table.Apply(exit(b, 40e9))
	table.Expire(69e9)
	if table.Find(b) == nil || table.Find(a) == nil {
		t.Error("line forgotten within the retention of the child")
	}
	table.Expire(70e9 + 1)
	if table.Find(b) != nil || table.Find(a) != nil || table.Stats().Processes != 0 {
		t.Errorf("line not forgotten after it: %+v", table.Stats())
	}
}

// Processes whose pids have an end in common, and those that had the same pid, are told apart, also when one of them is forgotten.
func TestFind(t *testing.T) {
	table := New(Config{Max: 100, MaxBytes: 1 << 20, MaxLiveBytes: 1 << 20, Retention: 30 * time.Second}, nil)
	keys := []Key{{10, 1}, {10 + 64, 2}, {10 + 128, 3}, {10, 4}, {10 + 64, 5}}
	for _, k := range keys {
		table.Apply(exit(k, k.StartNS*1e9))
	}
	find := func(forgotten int) {
		t.Helper()
		for range 2 {
			for i, k := range keys {
				p := table.Find(k)
				if i < forgotten && p != nil || i >= forgotten && (p == nil || p.Key != k) {
					t.Errorf("%d forgotten: %v is %+v", forgotten, k, p)
				}
			}
		}
	}
	for i := range keys {
		find(i)
		for range 2 {
			table.Find(keys[i])
		}
		table.Expire(keys[i].StartNS*1e9 + 30e9 + 1)
	}
	find(len(keys))
}

// started returns the record of the exec number gen of process 10, of a program called gen.
func started(gen uint32) *event.Event {
	return &event.Event{
		Type: field.EventExecve, BootNS: uint64(gen), Task: event.Task{PID: 10, StartNS: 1, Comm: fmt.Sprint(gen), ExecGen: gen},
		Exec: event.Exec{
			Exe: fmt.Sprint(gen), ExePath: fmt.Sprintf("/bin/%d", gen), Flags: event.ExeUpperLayer,
			Args: []byte(strings.Repeat("x", 4000) + "\x00"), Env: []byte("A=b\x00"),
		},
	}
}

// The images of the last execs of a process are kept, each for its generation, the older ones brief. What is asked for beyond is unknown.
func TestManyExecs(t *testing.T) {
	const execs = maxVersions + 10
	table := New(DefaultConfig(), nil)
	var p *Process
	for gen := uint32(1); gen <= execs; gen++ {
		p = table.Apply(started(gen))
		for g := uint32(1); g <= gen; g++ {
			im, at := p.Image(g), p.ImageAt(uint64(g))
			switch {
			case gen-g >= maxVersions:
				if im != nil || at != nil {
					t.Errorf("after exec %d generation %d is %+v, at its time %+v, want unknown", gen, g, im, at)
				}
			case im == nil || im != at || im.ExePath != fmt.Sprintf("/bin/%d", g) || im.Flags != event.ExeUpperLayer:
				t.Errorf("after exec %d generation %d is %+v, at its time %+v", gen, g, im, at)
			case gen-g < maxWhole:
				if len(im.Args) != 4001 || im.Env == "" || im.Truncated {
					t.Errorf("after exec %d generation %d is not whole: %+v", gen, g, im)
				}
			case len(im.Args) > maxBrief+5 || im.Env != "" || !strings.HasPrefix(im.Cmdline(), fmt.Sprintf("%d xxx", g)) || !im.Truncated:
				t.Errorf("after exec %d generation %d is not brief: %d bytes of arguments", gen, g, len(im.Args))
			}
		}
	}
	if p.Image(0) != nil || p.ImageAt(0) != nil {
		t.Errorf("before the first exec it was %+v, at that time %+v, want unknown", p.Image(0), p.ImageAt(0))
	}
	if p.room != [len(p.room)]version{} {
		t.Errorf("versions that have moved are kept where they were: %+v", p.room)
	}
	late := &event.Event{Type: field.EventOpenat, BootNS: 1, Task: event.Task{PID: 10, StartNS: 1, ExecGen: 1}}
	table.Apply(late)
	late.Task.ExecGen = execs - 10
	table.Apply(late)
	if n := table.Stats().Unknown; n != 1 {
		t.Errorf("%d events whose program is unknown, want 1", n)
	}
}

// The image that a waiting event asks for stays as it is, however many programs follow, until the event has been handed out.
func TestPinImage(t *testing.T) {
	table := New(DefaultConfig(), nil)
	p := table.Apply(started(1))
	table.Apply(started(2))
	table.Pin(p, 1)
	for gen := uint32(3); gen < 2*maxVersions; gen++ {
		table.Apply(started(gen))
	}
	if im := p.Image(1); im == nil || len(im.Args) != 4001 || im.Env == "" {
		t.Errorf("the pinned image is %+v", im)
	}
	if im := p.Image(2); im != nil {
		t.Errorf("the one after it is %+v, want unknown", im)
	}
	table.Unpin(p)
	table.Apply(started(2 * maxVersions))
	if im := p.Image(1); im != nil {
		t.Errorf("the image is kept after the last pin: %+v", im)
	}
}

// The record of an exec that comes after those of later ones is of use to its own event.
func TestLateExec(t *testing.T) {
	table := New(DefaultConfig(), nil)
	var p *Process
	for gen := uint32(2); gen <= maxVersions+1; gen++ {
		p = table.Apply(started(gen))
	}
	table.Apply(started(1))
	if im := p.Image(1); im == nil || im.Env == "" {
		t.Errorf("the image of the late record is %+v", im)
	}
}

func TestPin(t *testing.T) {
	table := New(DefaultConfig(), nil)
	k := Key{10, 1}
	p := table.Apply(exit(k, 1e9))
	table.Pin(p, 0)
	table.Expire(60e9)
	if table.Find(k) == nil {
		t.Error("pinned process forgotten")
	}
	table.Unpin(p)
	table.Expire(60e9)
	if table.Find(k) != nil {
		t.Error("process kept after the last pin")
	}
}

// TestForkBomb: a chain in which each process forks the next and ends, and a crowd, both stay within the bound.
func TestForkBomb(t *testing.T) {
	const limit = 500
	table := New(Config{Max: limit, MaxBytes: 1 << 30, MaxLiveBytes: 1 << 30, Retention: time.Hour}, nil)
	prev := Key{1, 1}
	for i := uint32(2); i < 20_000; i++ {
		next := Key{i, uint64(i) * 100}
		table.Apply(fork(prev, next, next.StartNS))
		table.Apply(exit(prev, next.StartNS+1))
		prev = next
	}
	st := table.Stats()
	if st.Processes > limit || st.Evicted == 0 || st.Refused != 0 {
		t.Errorf("chain: %+v, want at most %d processes", st, limit)
	}
	if n := len(table.Lineage(nil, table.Find(prev))); n == 0 || n > maxLineage {
		t.Errorf("lineage of the last has %d levels", n)
	}
	for i := uint32(0); i < 2*limit; i++ { // none of them ends
		if p := table.Apply(fork(prev, Key{100_000 + i, 1e9 + uint64(i)}, 1e9+uint64(i))); p == nil {
			t.Fatal("no process for an event")
		}
	}
	if st := table.Stats(); st.Processes > limit || st.Refused == 0 {
		t.Errorf("crowd: %+v, want at most %d processes and some refused", st, limit)
	}
}

// TestBytes: what ended processes leave behind is bounded in bytes too, and their environments go first.
func TestBytes(t *testing.T) {
	const limit = 1 << 20
	table := New(Config{Max: 1 << 20, MaxBytes: limit, MaxLiveBytes: limit, Retention: time.Hour}, nil)
	env := []byte("A=" + strings.Repeat("x", 4000) + "\x00")
	var last *Process
	for i := uint32(1); i < 5000; i++ {
		k := Key{i, uint64(i)}
		last = table.Apply(&event.Event{
			Type: field.EventExecve, BootNS: uint64(i), Task: event.Task{PID: i, StartNS: uint64(i), Comm: "x"},
			Exec: event.Exec{Exe: "x", Args: fmt.Appendf(nil, "%d\x00", i), Env: env},
		})
		table.Apply(exit(k, uint64(i)+1))
	}
	st := table.Stats()
	if st.Bytes > limit+len(env)+1000 || st.Evicted == 0 {
		t.Errorf("%+v", st)
	}
	table.Pin(last, 0)
	kept := st.Processes
	table.Expire(10e9)
	if st := table.Stats(); st.Processes != kept || st.Bytes > kept*500 || st.LiveBytes > len(env)+1000 {
		t.Errorf("after a while %+v", st)
	}
	if im := last.Image(0); im.EnvString() == "" || im.Cmdline() != "x 4999" {
		t.Errorf("the pinned one lost its environment: %+v", im)
	}
}

// long returns the record of exec number gen of process pid, with arguments, environment and path of 4 KB each.
func long(pid, gen uint32) *event.Event {
	text := fmt.Sprint(pid, gen) + strings.Repeat("a", 4000)
	return &event.Event{
		Type: field.EventExecve, BootNS: 1e6 + uint64(gen), Task: event.Task{PID: pid, StartNS: uint64(pid), Comm: "x", ExecGen: gen},
		Exec: event.Exec{Exe: text, ExePath: "/" + text, Filename: "/" + text, Args: []byte(text + "\x00"), Env: []byte("A=" + text + "\x00")},
	}
}

// TestLiveBytes: what living processes have is bounded in bytes, apart from what ended ones left, which do not go for it, and neither does what
// events wait for. The own event of an exec sees all of it.
func TestLiveBytes(t *testing.T) {
	const limit, crowd = 8 << 20, 1000
	table := New(Config{Max: 1 << 20, MaxBytes: 1 << 20, MaxLiveBytes: limit, Retention: time.Hour}, nil)
	ended := table.Apply(long(1, 1))
	table.Apply(exit(ended.Key, 2e6))
	waits := table.Apply(long(2, 1))
	table.Pin(waits, 1)
	table.Apply(exit(waits.Key, 2e6))
	alive := table.Apply(long(3, 1))
	table.Pin(alive, 1)
	table.Apply(long(3, 2))
	modest := table.Apply(&event.Event{
		Type: field.EventExecve, BootNS: 1e6, Task: event.Task{PID: 4, StartNS: 4, Comm: "modest", ExecGen: 1},
		Exec: event.Exec{ExePath: "/bin/modest", Args: []byte(strings.Repeat("a", 900) + "\x00"), Env: []byte("A=b\x00")},
	})
	for pid := uint32(10); pid < 10+crowd; pid++ {
		for gen := uint32(1); gen <= 4; gen++ {
			p := table.Apply(long(pid, gen))
			if im := p.Image(gen); im.Env == "" || len(im.Args) < 4000 {
				t.Fatalf("process %d exec %d: its own event sees %+v", pid, gen, im)
			}
			if n := table.Stats().LiveBytes; n > limit+40<<10 {
				t.Fatalf("process %d exec %d: %d bytes", pid, gen, n)
			}
		}
	}
	st := table.Stats()
	if st.Evicted != 0 || st.Abridged == 0 || st.LiveBytes < limit/2 {
		t.Errorf("%+v", st)
	}
	for _, p := range []*Process{ended, waits, alive} {
		if im := p.Image(1); table.Find(p.Key) != p || im == nil || im.Env == "" || len(im.Args) < 4000 {
			t.Errorf("process %d lost something: %+v", p.PID, im)
		}
	}
	if im := modest.Image(1); im.Env == "" || im.Truncated {
		t.Errorf("the modest process was abridged before larger ones: %+v", im)
	}
	if im := table.Find(Key{10, 10}).Image(4); len(im.ExePath) < 4000 || !im.Truncated {
		t.Errorf("the program of a large process is %+v", im)
	}
}

// An image that is inherited counts, and once, as long as anybody has it, and loses its environment only after the last.
func TestSharedBytes(t *testing.T) {
	table := New(DefaultConfig(), nil)
	parent := table.Apply(long(1, 1))
	one := table.Stats().LiveBytes
	for pid := uint32(2); pid < 102; pid++ {
		f := fork(parent.Key, Key{pid, 1e7}, 1e7)
		f.Task.ExecGen = 1
		table.Apply(f)
	}
	if st := table.Stats(); st.LiveBytes > one+100*200 {
		t.Errorf("with 100 children %d bytes, alone %d", st.LiveBytes, one)
	}
	table.Apply(exit(parent.Key, 2e7))
	table.Expire(100e9)
	child := table.Find(Key{2, 1e7})
	if st := table.Stats(); st.LiveBytes < one || child.Image(0).Env == "" {
		t.Errorf("after the end of the parent %+v, image %+v", st, child.Image(0))
	}
	for pid := uint32(2); pid < 102; pid++ {
		table.Apply(exit(Key{pid, 1e7}, 100e9))
	}
	st := table.Stats()
	if st.LiveBytes != 0 || st.Bytes < one || st.Bytes > one+100*200 || child.Image(0).Env == "" {
		t.Errorf("after the end of all %+v", st)
	}
	table.Expire(110e9)
	if now := table.Stats(); now.Bytes > st.Bytes-4000 || child.Image(0).Env != "" {
		t.Errorf("when no event of theirs can come any more %+v", now)
	}
}

// TestPools: whatever happens in whatever order, what is counted is what is there, and in the end nothing.
func TestPools(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(seed)
		for range 400 {
			w.step()
		}
		for _, reach := range []int{0, 30} {
			table := New(Config{Max: 40, MaxBytes: 4000, MaxLiveBytes: 4000, Retention: time.Microsecond}, nil)
			var pinned []*Process
			for i, r := range shuffle(w.rnd, w.log, reach) {
				r.ev.Exec.Env = []byte("A=" + strings.Repeat("x", 100) + "\x00")
				p := table.Apply(&r.ev)
				if i%7 == 0 {
					table.Pin(p, r.ev.Task.ExecGen)
					pinned = append(pinned, p)
				}
				if len(pinned) > 5 {
					table.Unpin(pinned[0])
					pinned = pinned[1:]
				}
				if i%50 == 0 {
					table.Expire(r.ev.BootNS + 2e9)
				}
				check(t, table)
			}
			for _, p := range pinned {
				table.Unpin(p)
			}
			for _, p := range table.byPID {
				for ; p != nil; p = p.older {
					table.exit(p, w.now)
				}
			}
			check(t, table)
			table.Expire(w.now + 100e9)
			table.Expire(w.now + 200e9)
			if st := table.Stats(); st.Bytes != 0 || st.LiveBytes != 0 || st.Processes != 0 {
				t.Fatalf("seed %d reach %d: in the end %+v", seed, reach, st)
			}
		}
	}
}

// check counts what is in use anew.
func check(t *testing.T, table *Table) {
	t.Helper()
	users, live := map[*Image]int{}, 0
	for _, p := range table.byPID {
		for ; p != nil; p = p.older {
			if p.retired {
				continue
			}
			live += p.bytes
			for i := range p.versions {
				if im := p.versions[i].image; im != nil {
					users[im]++
				}
			}
		}
	}
	for im, n := range users {
		live += im.bytes
		if im.users != n {
			t.Fatalf("%d processes have %q, counted are %d", n, im.Name, im.users)
		}
	}
	if st := table.Stats(); st.LiveBytes != live || st.Bytes < 0 {
		t.Fatalf("%d bytes in use: %+v", live, st)
	}
}

// A machine is an Outside with answers made up.
type machine struct {
	parent map[Key]uint32
	image  map[Key]*Image
	dead   map[uint32]bool
}

func (m machine) Image(k Key) (*Image, string, bool) { im, ok := m.image[k]; return im, "/work", ok }
func (m machine) Parent(k Key) (uint32, bool)        { p, ok := m.parent[k]; return p, ok }
func (m machine) Alive(pid uint32) bool              { return !m.dead[pid] }

// TestReaper: after the death of the parent the reaper is the parent, be it told by the process's own next event, by the machine, or
// guessed to be the first process of the pid namespace.
func TestReaper(t *testing.T) {
	initK, shim, runc, pod, sh := Key{1, 1}, Key{20, 2}, Key{30, 3}, Key{40, 4}, Key{50, 5}
	build := func(m Outside) *Table {
		table := New(DefaultConfig(), m)
		table.Apply(&event.Event{Type: field.EventProcinfo, BootNS: 1, Task: event.Task{PID: 1, StartNS: 1, VPID: 1, Comm: "systemd", PidNS: 7}})
		table.Apply(fork(initK, shim, 2))
		table.Apply(fork(shim, runc, 3))
		table.Apply(fork(runc, pod, 4))
		table.Apply(fork(pod, sh, 5))
		table.Apply(exit(runc, 10))
		return table
	}
	t.Run("machine", func(t *testing.T) {
		table := build(machine{parent: map[Key]uint32{pod: shim.PID}})
		if p := table.Parent(table.Find(pod), 20); p == nil || p.Key != shim {
			t.Errorf("parent %v, want the shim", p)
		}
		if p := table.Parent(table.Find(pod), 9); p == nil || p.Key != runc {
			t.Errorf("parent before its death %v, want runc", p)
		}
	})
	t.Run("own event", func(t *testing.T) {
		table := build(nil)
		table.Apply(&event.Event{Type: field.EventOpenat, BootNS: 15, Task: event.Task{
			PID: pod.PID, StartNS: pod.StartNS, PPID: shim.PID, ParentStartNS: shim.StartNS,
		}})
		if p := table.Parent(table.Find(pod), 20); p == nil || p.Key != shim {
			t.Errorf("parent %v, want the shim", p)
		}
	})
	t.Run("guess", func(t *testing.T) {
		table := build(nil)
		if p := table.Parent(table.Find(pod), 20); p == nil || p.Key != initK {
			t.Errorf("parent %v, want init", p)
		}
		var pids []uint32
		for _, p := range table.Lineage(nil, table.Find(sh)) {
			pids = append(pids, p.PID)
		}
		if want := []uint32{40, 30, 20, 1}; !slices.Equal(pids, want) {
			t.Errorf("lineage %v, want %v", pids, want)
		}
	})
}

// TestMet: a process without records is described by the machine, or by its name at least, and its lost exit is found out.
func TestMet(t *testing.T) {
	k := Key{70, 5}
	m := machine{image: map[Key]*Image{k: {Exe: "/bin/x", Args: "-a\x00"}}, dead: map[uint32]bool{70: true}}
	table := New(DefaultConfig(), m)
	p := table.Apply(&event.Event{Type: field.EventOpenat, BootNS: 10, Task: event.Task{PID: 70, StartNS: 5, Comm: "x"}})
	if got := p.Image(0).Cmdline(); got != "x -a" || !p.Incomplete || p.Cwd != "/work" {
		t.Errorf("cmdline %q, incomplete %v, cwd %q", got, p.Incomplete, p.Cwd)
	}
	table.Sweep(10, 5e9)
	if p.ExitNS == 0 {
		t.Error("dead process not found")
	}
	q := table.Apply(&event.Event{Type: field.EventOpenat, BootNS: 10, Task: event.Task{PID: 71, StartNS: 5, Comm: "y"}})
	if got := q.Image(0).Cmdline(); got != "y" {
		t.Errorf("cmdline %q", got)
	}
}

func TestCwd(t *testing.T) {
	table := New(DefaultConfig(), nil)
	task := event.Task{PID: 9, StartNS: 1}
	p := table.Apply(&event.Event{Type: field.EventExecve, BootNS: 1, Task: task, Exec: event.Exec{Cwd: "/a"}})
	table.Apply(&event.Event{Type: field.EventOpenat, BootNS: 2, Task: task, Open: event.Open{DirFD: 5, Path: event.Path{Raw: "x", Dir: "/elsewhere"}}})
	if p.Cwd != "/a" {
		t.Errorf("cwd %q after an open by descriptor", p.Cwd)
	}
	table.Apply(&event.Event{Type: field.EventOpenat, BootNS: 3, Task: task, Open: event.Open{DirFD: -100, Path: event.Path{Raw: "x", Dir: "/b"}}})
	if p.Cwd != "/b" {
		t.Errorf("cwd %q after a relative open", p.Cwd)
	}
	table.Apply(fork(Key{9, 1}, Key{10, 2}, 4))
	if c := table.Find(Key{10, 2}); c.Cwd != "/b" {
		t.Errorf("cwd %q of the child", c.Cwd)
	}
}

func TestImage(t *testing.T) {
	im := &Image{Name: "sh", Exe: "/bin/sh", Args: "-c\x00echo a b\x00", Env: "A=1\x00PATH=/bin\x00"}
	if got, want := im.Cmdline(), "sh -c echo a b"; got != want {
		t.Errorf("cmdline %q, want %q", got, want)
	}
	if got, want := im.ArgString(), "-c echo a b"; got != want {
		t.Errorf("args %q, want %q", got, want)
	}
	if a, ok := im.Arg(1); a != "echo a b" || !ok {
		t.Errorf("second argument %q %v", a, ok)
	}
	if _, ok := im.Arg(2); ok {
		t.Error("third argument")
	}
	if im.NumArgs() != 2 || im.ArgsLen() != 10 {
		t.Errorf("%d arguments of %d bytes", im.NumArgs(), im.ArgsLen())
	}
	if v, ok := im.EnvVar("PATH"); v != "/bin" || !ok {
		t.Errorf("PATH %q %v", v, ok)
	}
	if _, ok := im.EnvVar("PAT"); ok {
		t.Error("PAT is set")
	}
	if got := im.EnvString(); got != "A=1 PATH=/bin" {
		t.Errorf("environment %q", got)
	}
}

func TestProc(t *testing.T) {
	var f Proc
	ticks, ppid, ok := f.stat(uint32(1))
	if !ok || ppid != 0 {
		t.Fatalf("stat of process 1: start %d, parent %d, %v", ticks, ppid, ok)
	}
	im, _, ok := f.Image(Key{1, ticks * (1e9 / clockTick)})
	if !ok || im.Name == "" {
		t.Errorf("image of process 1: %+v %v", im, ok)
	}
	if _, _, ok := f.Image(Key{1, (ticks + 500) * (1e9 / clockTick)}); ok {
		t.Error("another process of the same pid was taken for it")
	}
	if !f.Alive(1) || f.Alive(1<<22+1) {
		t.Error("Alive is wrong")
	}
}

func BenchmarkApplyOpen(b *testing.B) {
	table := New(DefaultConfig(), nil)
	w := newWorld(1)
	for range 500 {
		w.step()
	}
	for _, r := range w.log {
		table.Apply(&r.ev)
	}
	ev := w.log[len(w.log)-1].ev
	ev.Type = field.EventOpenat
	b.ReportAllocs()
	for b.Loop() {
		table.Apply(&ev)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkForkExec is what a process costs that is forked, starts a program and ends.
func BenchmarkForkExec(b *testing.B) {
	table := New(DefaultConfig(), nil)
	shell := Key{2, 1}
	args, env := []byte(strings.Repeat("arg\x00", 10)), []byte(strings.Repeat("NAME=value\x00", 50))
	ns := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		ns += 100_000
		k := Key{uint32(ns/100_000)%30_000 + 10, ns}
		table.Apply(fork(shell, k, ns))
		table.Apply(&event.Event{
			Type: field.EventExecve, BootNS: ns + 1, Task: event.Task{PID: k.PID, StartNS: k.StartNS, Comm: "true", ExecGen: 1},
			Exec: event.Exec{Exe: "true", ExePath: "/usr/bin/true", Args: args, Env: env},
		})
		table.Apply(exit(k, ns+2))
		if ns%1_000_000 == 1 {
			table.Expire(ns)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "processes/s")
}
