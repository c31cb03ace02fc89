package process

import "github.com/tiercel-project/tiercel/sensor/event"

// maxLineage is how many levels up a walk goes: longer lines are cut there, which also ends cycles that wrong records could make.
const maxLineage = 64

// ParentOf returns the parent that the task of an event at boot time ns names, and where the table does not know it, Parent of p.
// p is what Apply returned for the event.
func (t *Table) ParentOf(p *Process, task *event.Task, ns uint64) *Process {
	if task.PPID != 0 {
		if q := t.Find(Key{task.PPID, task.ParentStartNS}); q != nil && q != p {
			return q
		}
	}
	if p == nil {
		return nil
	}
	return t.Parent(p, ns)
}

// Parent returns the parent of p at boot time ns: who forked it or, after that one's death, the reaper. It is nil for the first process
// and where it is unknown.
func (t *Table) Parent(p *Process, ns uint64) *Process {
	if p.origin == nil && len(p.adopters) == 0 {
		return nil
	}
	if p.origin != nil && !p.origin.deadAt(ns) && (len(p.adopters) == 0 || p.origin.ExitNS != 0) {
		return p.origin
	}
	for _, a := range p.adopters {
		if !a.p.deadAt(ns) {
			return a.p
		}
	}
	if p.removed {
		return p.origin
	}
	if q := t.reaper(p, ns); q != nil {
		return q
	}
	return p.origin
}

// Ancestors appends the parents of p at boot time ns to dst, the nearest first. first is the nearest one if it is known already.
func (t *Table) Ancestors(dst []*Process, p, first *Process, ns uint64) []*Process {
	q := first
	if q == nil {
		q = t.Parent(p, ns)
	}
	for n := 0; q != nil && q != p && n < maxLineage; n++ {
		dst = append(dst, q)
		next := t.Parent(q, ns)
		if next == q {
			break
		}
		q = next
	}
	return dst
}

// Lineage appends those who forked p, and them, and so on, alive or dead, to dst.
func (t *Table) Lineage(dst []*Process, p *Process) []*Process {
	for q, n := p.origin, 0; q != nil && n < maxLineage; q, n = q.origin, n+1 {
		dst = append(dst, q)
	}
	return dst
}

// observeParent takes over the parent that the kernel reports for p.
func (t *Table) observeParent(p *Process, task *event.Task) {
	if task.PPID == 0 || p.removed {
		return
	}
	is := func(q *Process) bool { return q.PID == task.PPID && q.StartNS == task.ParentStartNS }
	if p.origin == nil {
		if q := t.Find(Key{task.PPID, task.ParentStartNS}); q != nil && q != p {
			t.setOrigin(p, q)
		}
		return
	}
	if n := len(p.adopters); n > 0 {
		if is(p.adopters[n-1].p) {
			p.adopters[n-1].guessed = false
			return
		}
	}
	if is(p.origin) {
		return
	}
	for _, a := range p.adopters {
		if is(a.p) {
			return // an older record
		}
	}
	if q := t.Find(Key{task.PPID, task.ParentStartNS}); q != nil && q != p {
		t.adopt(p, q, false)
	}
}

// reaper finds out who looks after p, all of whose known parents are dead, and remembers it.
func (t *Table) reaper(p *Process, ns uint64) *Process {
	const maxTries = 3
	if t.outside != nil && p.ExitNS == 0 && p.tries < maxTries {
		p.tries++
		if pid, ok := t.outside.Parent(p.Key); ok {
			if q := t.byPID[pid]; q != nil && q != p && !q.deadAt(ns) {
				t.adopt(p, q, false)
				return q
			}
		}
	}
	q := t.initOf(p, ns)
	if q != nil && q != p {
		t.adopt(p, q, true)
		return q
	}
	return nil
}

// initOf returns the first process of p's pid namespace if it is an ancestor of p, else the first of the machine.
func (t *Table) initOf(p *Process, ns uint64) *Process {
	for q, n := p.origin, 0; q != nil && n < maxLineage; q, n = q.origin, n+1 {
		if q.VPID == 1 && q.PidNS == p.PidNS && !q.deadAt(ns) {
			return q
		}
	}
	return t.ByPID(1, ns)
}

// born makes q the process that forked p, for good. Who was taken for it looked after p later.
func (t *Table) born(p, q *Process) {
	if p.forked {
		return
	}
	p.forked = true
	old := p.origin
	if old == q {
		return
	}
	p.origin = nil
	t.setOrigin(p, q)
	if old != nil {
		t.adopt(p, old, false)
		t.release(old)
	}
}

// setOrigin makes q the process that forked p. A line of dead ancestors longer than maxLineage is cut.
func (t *Table) setOrigin(p, q *Process) {
	if p.removed {
		return
	}
	for r, n := q, 0; r != nil; r, n = r.origin, n+1 {
		if r == p {
			return // wrong records: no cycle
		}
		if n >= maxLineage && r.origin != nil && r.origin.ExitNS != 0 {
			cut := r.origin
			r.origin = nil
			t.release(cut)
			break
		}
	}
	p.origin = q
	q.refs++
}

// adopt appends q to those who looked after p.
func (t *Table) adopt(p, q *Process, guessed bool) {
	if n := len(p.adopters); n > 0 && (p.adopters[n-1].guessed || n >= maxAdopters) {
		old := p.adopters[n-1].p
		p.adopters[n-1] = adopter{q, guessed}
		q.refs++
		t.release(old)
		return
	}
	p.adopters = append(p.adopters, adopter{q, guessed})
	q.refs++
}
