package sandbox

import (
	"slices"
	"sync"
)

// A pool bounds how many instances wait for their next event, of all modules together: the one that has waited longest goes first. Each
// holds at most the written pages of maxCopyPages and what the engine keeps of it; its module makes another from the sealed state.
type pool struct {
	most      int // of all modules
	perModule int // and size of memory: as many as can run at one time

	mu             sync.Mutex
	oldest, newest *instance // a list of those that wait; guarded by mu, as are the idle lists of all modules
	waiting        int       // guarded by mu
}

// An idleList is the instances of a module that wait, with regions of one size. It is guarded by the pool.
type idleList struct{ instances []*instance }

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
	if l == nil || len(l.instances) == 0 {
		return nil
	}
	last := len(l.instances) - 1
	in := l.instances[last]
	l.instances = l.instances[:last]
	p.remove(in)
	return in
}

// give has an instance of m wait. It returns the one that is to be discarded instead, or nil.
func (p *pool) give(m *Module, in *instance) *instance {
	size := int64(len(in.memory.base))
	p.mu.Lock()
	defer p.mu.Unlock()
	l := m.idle[size]
	if l == nil {
		if m.idle == nil || len(m.idle) >= maxRegionSizes {
			return in
		}
		l = &idleList{}
		m.idle[size] = l
	}
	if len(l.instances) >= p.perModule {
		return in
	}
	in.owner = m
	p.push(in)
	l.instances = append(l.instances, in)
	if p.waiting <= p.most {
		return nil
	}
	oldest := p.oldest
	p.remove(oldest)
	l = oldest.owner.idle[int64(len(oldest.memory.base))]
	i := slices.Index(l.instances, oldest)
	l.instances = slices.Delete(l.instances, i, i+1)
	return oldest
}

// close returns the instances of m that wait; none does afterwards.
func (p *pool) close(m *Module) (waiting []*instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range m.idle {
		for _, in := range l.instances {
			p.remove(in)
			waiting = append(waiting, in)
		}
	}
	m.idle = nil
	return waiting
}
