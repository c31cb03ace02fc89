package sandbox

import "sync"

// A pool bounds how many instances wait for their next event, of all modules together: the one that has waited longest goes first. Each
// holds at most the written pages of maxCopyPages and what the engine keeps of it; its module makes another from the sealed state.
type pool struct {
	most      int // of all modules
	perModule int // and size of memory: as many as can run at one time

	mu             sync.Mutex
	oldest, newest *instance // a list of those that wait; guarded by mu, as are the idle lists of all modules
	waiting        int       // guarded by mu
}

// len is how many wait now.
func (p *pool) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting
}

// push puts an instance behind those that wait. The caller holds mu.
func (p *pool) push(in *instance) {
	p.waiting++
	if in.older = p.newest; in.older != nil {
		in.older.newer = in
	} else {
		p.oldest = in
	}
	p.newest = in
}

// remove takes an instance out of those that wait. The caller holds mu.
func (p *pool) remove(in *instance) {
	p.waiting--
	if in.older != nil {
		in.older.newer = in.newer
	} else {
		p.oldest = in.newer
	}
	if in.newer != nil {
		in.newer.older = in.older
	} else {
		p.newest = in.older
	}
	in.older, in.newer = nil, nil
}

// take returns an instance of m that waits, or nil.
func (p *pool) take(m *Module, size int64) *instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := m.idle[size]
	if len(l) == 0 {
		return nil
	}
	in := l[len(l)-1]
	m.idle[size] = l[:len(l)-1]
	p.remove(in)
	return in
}

// give has an instance of m wait. It returns the one that is to be discarded instead, or nil.
func (p *pool) give(m *Module, in *instance) *instance {
	size := int64(len(in.memory.base))
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.idle == nil || len(m.idle[size]) >= p.perModule || m.idle[size] == nil && len(m.idle) >= maxRegionSizes {
		return in
	}
	in.owner = m
	p.push(in)
	m.idle[size] = append(m.idle[size], in)
	if p.waiting <= p.most {
		return nil
	}
	oldest := p.oldest
	p.remove(oldest)
	owner, size := oldest.owner, int64(len(oldest.memory.base))
	for i, o := range owner.idle[size] {
		if o == oldest {
			owner.idle[size] = append(owner.idle[size][:i], owner.idle[size][i+1:]...)
			break
		}
	}
	return oldest
}

// close returns the instances of m that wait; none does afterwards.
func (p *pool) close(m *Module) (waiting []*instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range m.idle {
		for _, in := range l {
			p.remove(in)
			waiting = append(waiting, in)
		}
	}
	m.idle = nil
	return waiting
}
