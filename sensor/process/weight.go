package process

import (
	"math/bits"
	"unsafe"
)

// Texts are counted in two pools: those in use, which are those of living processes and of ended ones whose events wait, and those of the
// other ended ones, which go when their pool is full. An image that several processes share is in use as long as one of them is, and
// counts once; the last of them to end has it afterwards.

// largest holds the processes in use that have something to abridge, by its size in powers of two: those that have whole images of earlier
// programs, and the others.
type largest [2][32]exitList

// inUse reports whether texts of p count as in use.
func (p *Process) inUse() bool { return !p.retired && !p.removed }

// weigh counts the bytes of p anew.
func (t *Table) weigh(p *Process) {
	if p.removed && !p.retired {
		return // it never was in the table
	}
	n, pool := 0, &t.stats.Bytes
	if !p.removed {
		n = len(p.Cwd) + cap(p.versions)*int(unsafe.Sizeof(version{}))
	}
	for i := range p.versions {
		v := &p.versions[i]
		switch im := v.image; {
		case im == nil || p.removed:
		case p.retired:
			if v.counted {
				n += im.size()
			}
		default:
			v.count()
			size := im.size()
			t.stats.LiveBytes += size - im.bytes
			im.bytes = size
		}
	}
	if p.inUse() {
		pool = &t.stats.LiveBytes
		t.file(p)
	}
	*pool += n - p.bytes
	p.bytes = n
}

// count marks that a process in use has v.
func (v *version) count() {
	if !v.counted {
		v.counted = true
		v.image.users++
	}
}

// drop marks that p has v no more, or is about to be in use no more.
func (t *Table) drop(p *Process, v *version) {
	counted := v.counted
	v.counted = false
	if !counted || p.retired {
		return
	}
	im := v.image
	if im.users--; im.users == 0 {
		t.stats.LiveBytes -= im.bytes
		im.bytes = 0
	}
}

// retire puts p, which has ended and has no events that wait, among those that go for want of room.
func (t *Table) retire(p *Process) {
	if p.list != nil {
		p.list.remove(p)
	}
	for i := range p.versions {
		if v := &p.versions[i]; v.counted {
			t.drop(p, v)
			v.counted = v.image.users == 0
		}
	}
	t.stats.LiveBytes -= p.bytes
	p.bytes, p.retired = 0, true
	t.fresh.push(p)
	t.weigh(p)
}

// reuse undoes retire.
func (t *Table) reuse(p *Process) {
	p.list.remove(p)
	t.stats.Bytes -= p.bytes
	p.bytes, p.retired = 0, false
	for i := range p.versions {
		p.versions[i].counted = false
	}
	t.weigh(p)
}

// gain returns how many bytes images of programs before the present one take that could be abridged, how many those take that are, and how
// many the present one would lose.
func (p *Process) gain() (whole, brief, present int) {
	last := len(p.versions) - 1
	for i := range p.versions {
		switch im := p.versions[i].image; {
		case im == nil || im.pins > 0:
		case i == last && !im.brief:
			present = len(im.Env) + len(im.Filename) + 2*max(0, len(im.Args)-maxBrief)
		case i == last:
		case im.brief:
			brief += im.bytes
		default:
			whole += im.bytes
		}
	}
	return whole, brief, present
}

// file puts p, which is in use, where abridge finds it.
func (t *Table) file(p *Process) {
	var l *exitList
	if whole, brief, present := p.gain(); whole > 0 {
		l = &t.largest[0][bits.Len(uint(whole))]
	} else if n := max(brief, present); n > 0 {
		l = &t.largest[1][bits.Len(uint(n))]
	}
	if p.list == l {
		return
	}
	if p.list != nil {
		p.list.remove(p)
	}
	if l != nil {
		l.push(p)
	}
}

// makeRoom keeps what is in use within its bound, as far as that can be done.
func (t *Table) makeRoom() {
	for t.stats.LiveBytes > t.cfg.MaxLiveBytes && t.abridge() {
	}
}

// abridge shortens what is kept of the process in use that has most, and reports whether there was one: images of earlier programs first,
// anybody's, and then either these go or the present one loses its environment and long arguments, whichever is more.
func (t *Table) abridge() bool {
	p := t.largest.head()
	for p != nil {
		was := p.list
		if t.file(p); p.list == was {
			break
		}
		p = t.largest.head() // another process had its image abridged
	}
	if p == nil {
		return false
	}
	last := len(p.versions) - 1
	whole, brief, present := p.gain()
	for i := last; i >= 0; i-- {
		v := &p.versions[i]
		switch im := v.image; {
		case im == nil || im.pins > 0:
		case whole > 0 && i < last, whole == 0 && present > brief && i == last:
			if !im.brief {
				im.abridge()
				t.stats.Abridged++
			}
		case whole == 0 && present <= brief && i < last:
			t.forget(p, i)
			t.stats.Abridged++
		}
	}
	t.weigh(p)
	return true
}

// head returns a process of those that have most, or nil.
func (l *largest) head() *Process {
	for i := range l {
		for j := len(l[i]) - 1; j >= 0; j-- {
			if p := l[i][j].head; p != nil {
				return p
			}
		}
	}
	return nil
}
