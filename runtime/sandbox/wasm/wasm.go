// Package wasm reads and writes the binary form of WebAssembly modules, as far as the sandbox needs it: to say what is wrong with a
// module before it is compiled, and to bound what it may do. It checks nothing that the engine checks when it compiles. Read
// [Inspect] first.
package wasm

import (
	"errors"
	"fmt"
)

// Header is how a core module of version 1 begins.
const Header = "\x00asm\x01\x00\x00\x00"

// IDs of sections.
const (
	SectionCustom = iota
	SectionType
	SectionImport
	SectionFunction
	SectionTable
	SectionMemory
	SectionGlobal
	SectionExport
	SectionStart
	SectionElement
	SectionCode
	SectionData
	SectionDataCount
)

// Kinds of imports and exports.
const (
	KindFunction = iota
	KindTable
	KindMemory
	KindGlobal
)

// PageSize is the unit of a linear memory.
const PageSize = 64 << 10

// ErrMalformed is the error of everything that is no well-formed module.
var ErrMalformed = errors.New("malformed WebAssembly module")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// A Section is one section of a module.
type Section struct {
	ID   byte
	Body []byte
}

// Parse splits a module into its sections, whose bodies share bin's memory.
func Parse(bin []byte) ([]Section, error) {
	if len(bin) < len(Header) || string(bin[:len(Header)]) != Header {
		return nil, malformed("no header")
	}
	var out []Section
	r := reader{b: bin, p: len(Header)}
	for r.p < len(bin) {
		id := r.byte()
		body := r.bytes(r.u32())
		if r.err != nil {
			return nil, fmt.Errorf("section %d: %w", len(out), r.err)
		}
		if id > SectionDataCount {
			return nil, malformed("section id %d", id)
		}
		out = append(out, Section{id, body})
	}
	return out, nil
}

// Encode is the inverse of Parse.
func Encode(sections []Section) []byte {
	n := len(Header)
	for _, s := range sections {
		n += 6 + len(s.Body)
	}
	out := append(make([]byte, 0, n), Header...)
	for _, s := range sections {
		out = append(out, s.ID)
		out = appendU(out, uint64(len(s.Body)))
		out = append(out, s.Body...)
	}
	return out
}

// A reader reads from b at p; after the first error it returns zeroes.
type reader struct {
	b   []byte
	p   int
	err error
}

func (r *reader) fail(text string) {
	if r.err == nil {
		r.err = malformed("%s at byte %d", text, r.p)
		r.p = len(r.b)
	}
}

func (r *reader) more() bool { return r.err == nil && r.p < len(r.b) }

func (r *reader) byte() byte {
	if r.err != nil || r.p >= len(r.b) {
		r.fail("end")
		return 0
	}
	r.p++
	return r.b[r.p-1]
}

func (r *reader) bytes(n uint32) []byte {
	if r.err != nil || uint64(n) > uint64(len(r.b)-r.p) {
		r.fail("end")
		return nil
	}
	r.p += int(n)
	return r.b[r.p-int(n) : r.p : r.p]
}

func (r *reader) name() string { return string(r.bytes(r.u32())) }

// u32 reads an unsigned LEB128 number of at most 32 bits.
func (r *reader) u32() uint32 {
	var v uint64
	for i := 0; i < 5; i++ {
		c := r.byte()
		v |= uint64(c&0x7f) << (7 * i)
		if c&0x80 == 0 {
			if v > 1<<32-1 {
				break
			}
			return uint32(v)
		}
	}
	r.fail("number too large")
	return 0
}

// skipLEB skips a LEB128 number of at most 64 bits.
func (r *reader) skipLEB() {
	for range 10 {
		if r.byte()&0x80 == 0 {
			return
		}
	}
	r.fail("number too long")
}

// Limits of a table or memory.
type Limits struct {
	Min    uint32
	Max    uint32
	HasMax bool
}

func (r *reader) limits() Limits {
	var l Limits
	switch f := r.byte(); f {
	case 0:
		l.Min = r.u32()
	case 1:
		l.Min, l.Max, l.HasMax = r.u32(), r.u32(), true
	default:
		r.fail(fmt.Sprintf("limits of kind %d (threads and 64-bit memories are not supported)", f))
	}
	return l
}

func appendLimits(b []byte, l Limits) []byte {
	if !l.HasMax {
		return appendU(append(b, 0), uint64(l.Min))
	}
	return appendU(appendU(append(b, 1), uint64(l.Min)), uint64(l.Max))
}

func appendU(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendS(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func appendName(b []byte, s string) []byte { return append(appendU(b, uint64(len(s))), s...) }
