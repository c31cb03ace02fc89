package process

// Expire drops ended processes that are past the retention at boot time nowNS and that nothing refers to. Events from before nowNS must all
// have been applied.
func (t *Table) Expire(nowNS uint64) {
	const settled = 2e9 // no event of the process is on its way any more
	for p := t.fresh.head; p != nil && p.ExitNS+settled <= nowNS; p = t.fresh.head {
		t.fresh.remove(p)
		t.recent.push(p)
		p.lean()
		t.weigh(p)
	}
	keep := uint64(t.cfg.Retention)
	for p := t.recent.head; p != nil && p.ExitNS+keep <= nowNS; p = t.recent.head {
		t.recent.remove(p)
		p.expired = true
		if p.refs == 0 {
			t.remove(p)
		} else {
			t.held.push(p)
		}
	}
}

// Sweep asks for up to n processes whether they still exist, and ends those that do not: their exit record was lost. It goes round the
// whole table, n at a time.
func (t *Table) Sweep(n int, nowNS uint64) {
	if t.outside == nil {
		return
	}
	if len(t.sweep) == 0 {
		for pid := range t.byPID {
			t.sweep = append(t.sweep, pid)
		}
	}
	const settle = 1e9 // an exit record may still be on its way
	for ; n > 0 && len(t.sweep) > 0; n-- {
		pid := t.sweep[len(t.sweep)-1]
		t.sweep = t.sweep[:len(t.sweep)-1]
		p := t.byPID[pid]
		if p == nil || p.ExitNS != 0 || p.seenNS+settle > nowNS || t.outside.Alive(pid) {
			continue
		}
		t.gone(p, nowNS)
		t.stats.Reaped++
	}
}

// evict removes the ended process that matters least and reports whether there was one.
func (t *Table) evict() bool {
	var p *Process
	for _, l := range []*exitList{&t.held, &t.recent, &t.fresh} {
		if p = l.head; p != nil {
			break
		}
	}
	if p == nil {
		return false
	}
	t.stats.Evicted++
	t.remove(p)
	p.shrink() // others may hold it as their parent
	return true
}

// release ends one reference to p, which goes if it was kept for that only.
func (t *Table) release(p *Process) {
	p.refs--
	if p.refs == 0 && p.expired && !p.removed {
		t.remove(p)
	}
}

// remove takes p out of the table and ends its references to others, which may go for that in turn.
func (t *Table) remove(p *Process) {
	for todo := []*Process{p}; len(todo) > 0; {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		t.unlink(p)
		parents := make([]*Process, 0, 1+maxAdopters)
		if p.origin != nil {
			parents = append(parents, p.origin)
		}
		for _, a := range p.adopters {
			parents = append(parents, a.p)
		}
		p.origin, p.adopters = nil, nil
		for _, q := range parents {
			if q.refs--; q.refs == 0 && q.expired && !q.removed {
				todo = append(todo, q)
			}
		}
	}
}

// unlink takes p out of the map and the lists.
func (t *Table) unlink(p *Process) {
	p.removed = true
	t.stats.Processes--
	t.weigh(p)
	if p.list != nil {
		p.list.remove(p)
	}
	if t.byPID[p.PID] == p {
		if p.older == nil {
			delete(t.byPID, p.PID)
		} else {
			t.byPID[p.PID] = p.older
		}
	} else {
		for q := t.byPID[p.PID]; q != nil; q = q.older {
			if q.older == p {
				q.older = p.older
				break
			}
		}
	}
	p.older = nil
}
