package sandbox

import (
	"container/list"
	"runtime"
	"sync"
)

// A pool bounds how many instances wait for their next event, of all modules together: the one that has waited longest goes first. Each
// holds at most the written pages of maxCopyPages and what the engine keeps of it; its module makes another from the sealed state.
type pool struct {
	most int

	mu    sync.Mutex
	order list.List // of *instance, the one that has waited longest first; guarded by mu, as are the idle lists of all modules
}

// len is how many wait now.
func (p *pool) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.order.Len()
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
	p.order.Remove(in.waits)
	in.waits = nil
	return in
}

// give has an instance of m wait. It returns the one that is to be discarded instead, or nil.
func (p *pool) give(m *Module, in *instance) *instance {
	size := int64(len(in.memory.base))
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.idle == nil || len(m.idle[size]) >= runtime.GOMAXPROCS(0) || m.idle[size] == nil && len(m.idle) >= maxRegionSizes {
		return in
	}
	in.owner, in.waits = m, p.order.PushBack(in)
	m.idle[size] = append(m.idle[size], in)
	if p.order.Len() <= p.most {
		return nil
	}
	oldest := p.order.Remove(p.order.Front()).(*instance)
	oldest.waits = nil
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
			p.order.Remove(in.waits)
			waiting = append(waiting, in)
		}
	}
	m.idle = nil
	return waiting
}
