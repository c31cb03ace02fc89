package wasm

import (
	"encoding/binary"
	"fmt"
)

// Names that Strip exports things under. No module may use names with this prefix itself.
const (
	ReservedPrefix = "__tiercel"
	StartExport    = ReservedPrefix + "_start"
	globalPrefix   = ReservedPrefix + "_g"
)

// A Stripped module begins with nothing in its memory and runs nothing when it is instantiated: what it would have had and run is
// beside it, so that it can begin from any state that it has been in before.
type Stripped struct {
	Sections []Section
	Image    []byte   // of its memory, as its data segments make it
	Start    bool     // its start function is exported as StartExport
	Globals  []string // names that its mutable globals are exported under, in the order of their indices
}

// Strip strips a module. Its memory and globals are its own, not imported.
func Strip(sections []Section, info *Info) (*Stripped, error) {
	s := &Stripped{}
	var pages uint32
	if len(info.Memories) > 0 {
		pages = info.Memories[0].Min
	}
	s.Image = make([]byte, uint64(pages)*PageSize)
	hasCount := false
	for _, sec := range sections {
		hasCount = hasCount || sec.ID == SectionDataCount
	}
	exports := []byte(nil)
	added := uint32(0)
	export := func(name string, kind byte, index uint32) {
		exports = appendU(append(appendName(exports, name), kind), uint64(index))
		added++
	}
	for _, sec := range sections {
		r := &reader{b: sec.Body}
		switch sec.ID {
		case SectionGlobal:
			s.globals(r, export)
		case SectionStart:
			export(StartExport, KindFunction, r.u32())
			s.Start = true
			continue
		case SectionData:
			sec.Body = s.data(r)
			if !hasCount { // no instruction can name a segment
				sec.Body = nil
			}
		}
		if r.err != nil {
			return nil, fmt.Errorf("section %d: %w", sec.ID, r.err)
		}
		if sec.ID != SectionData || sec.Body != nil {
			s.Sections = append(s.Sections, sec)
		}
	}
	for i, sec := range s.Sections {
		if sec.ID == SectionExport {
			r := &reader{b: sec.Body}
			n := r.count()
			b := append(appendU(nil, uint64(n+added)), r.b[r.p:]...)
			s.Sections[i].Body = append(b, exports...)
		}
	}
	return s, nil
}

// globals exports the mutable ones.
func (s *Stripped) globals(r *reader, export func(string, byte, uint32)) {
	n := r.count()
	for i := range n {
		typ, mutable := r.byte(), r.byte()
		for r.err == nil && r.instruction().op != opEnd {
			continue
		}
		if mutable != 1 {
			continue
		}
		if typ < 0x7c || typ > 0x7f {
			r.fail(fmt.Sprintf("mutable global of type %#x", typ))
			return
		}
		name := fmt.Sprint(globalPrefix, i)
		export(name, KindGlobal, i)
		s.Globals = append(s.Globals, name)
	}
}

// data writes the active segments into the image and returns the section with empty ones in their place.
func (s *Stripped) data(r *reader) []byte {
	n := r.count()
	b := appendU(nil, uint64(n))
	for ; n > 0 && r.err == nil; n-- {
		start := r.p
		switch flags := r.u32(); flags {
		case 0, 2:
			if flags == 2 {
				r.u32()
			}
			offset := r.constantI32()
			data := r.bytes(r.u32())
			if uint64(offset)+uint64(len(data)) > uint64(len(s.Image)) {
				r.fail(fmt.Sprintf("%d bytes of data at %#x are outside its memory,", len(data), offset))
				return nil
			}
			copy(s.Image[offset:], data)
			b = append(b, 0, opI32Const, 0, opEnd, 0)
		case 1:
			r.bytes(r.u32())
			b = append(b, r.b[start:r.p]...)
		default:
			r.fail(fmt.Sprintf("data segment of kind %d", flags))
		}
	}
	return b
}

// constantI32 reads the expression i32.const and its end.
func (r *reader) constantI32() uint32 {
	if r.byte() != opI32Const {
		r.fail("offset that is not a constant")
		return 0
	}
	v, n := sleb32(r.b[r.p:])
	if n == 0 {
		r.fail("number too large")
		return 0
	}
	r.p += n
	if r.byte() != opEnd {
		r.fail("offset that is not a constant")
	}
	return uint32(v)
}

// sleb32 reads a signed LEB128 number of 32 bits; n is 0 if there is none.
func sleb32(b []byte) (v int32, n int) {
	var u uint64
	for i, c := range b[:min(len(b), binary.MaxVarintLen32)] {
		u |= uint64(c&0x7f) << (7 * i)
		if c&0x80 == 0 {
			if c&0x40 != 0 {
				u |= ^uint64(0) << (7 * (i + 1))
			}
			return int32(u), i + 1
		}
	}
	return 0, 0
}
