package capture

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/decode"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// A Reader reads a file, frame by frame. It belongs to one goroutine at a time. Make one with Open or NewReader.
type Reader struct {
	Header Header

	name   string
	r      *bufio.Reader
	file   *os.File // nil if NewReader was given something else
	offset int64    // of the next frame
	at     int64    // of the frame in body
	body   []byte
	types  []field.EventType // nil: the same as ours
	events uint64
	ev     event.Event // the one that is handed out
	done   event.Event // of a request's completion
}

// known are the event types that this program knows.
var known = field.AllEvents()

// A Visitor is told what a file holds. Functions that are nil are not called; an error of one ends the reading.
type Visitor struct {
	Event     func(*event.Event) error // it is the callee's until it returns
	Clock     func(offsetNS int64) error
	Container func(*Container) error
	Names     func(*Names) error
	Domains   func(Domains) error
}

// Open opens the file name and reads its header. Its errors are *Error, or those of opening. Close the Reader.
func Open(name string) (*Reader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open capture: %w", err)
	}
	r, err := NewReader(f, name)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	r.file = f
	return r, nil
}

// NewReader reads the header of a file from in; name is what errors call it. Its errors are *Error.
func NewReader(in io.Reader, name string) (*Reader, error) {
	r := &Reader{name: name, r: bufio.NewReaderSize(in, 256<<10)}
	b := make([]byte, len(magic))
	if _, err := io.ReadFull(r.r, b); err != nil || !Is(b) {
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, r.errorf(0, "%w", err)
		}
		return nil, r.errorf(0, "%w", ErrNoCapture)
	}
	r.offset = int64(len(magic))
	k, err := r.next()
	if err != nil {
		return nil, err
	}
	if k != kindHeader {
		return nil, r.errorf(r.at, "%w: no header", ErrDamaged)
	}
	if err := json.Unmarshal(r.body[1:], &r.Header); err != nil {
		return nil, r.errorf(r.at, "%w: header: %w", ErrDamaged, err)
	}
	if err := r.Header.check(); err != nil {
		return nil, r.errorf(r.at, "%w", err)
	}
	r.types = r.Header.typeTable()
	return r, nil
}

// Close closes the file that Open opened.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

func (r *Reader) errorf(offset int64, format string, args ...any) error {
	return &Error{File: r.name, Offset: offset, Err: fmt.Errorf(format, args...)}
}

// Visit reads the rest of the file. It returns nil at the end mark, an *Error that wraps ErrTruncated where the file ends without one,
// after everything that is whole, another *Error where it is damaged, or the error that a function of v returned.
func (r *Reader) Visit(v Visitor) error {
	for {
		k, err := r.next()
		if err != nil {
			return err
		}
		if k == kindEnd {
			return r.end()
		}
		if err := r.visit(k, &v); err != nil {
			return err
		}
	}
}

// visit hands out the frame in body. Kinds of later programs are passed over.
func (r *Reader) visit(k kind, v *Visitor) error {
	switch k {
	case kindEvent:
		r.events++
		if v.Event == nil {
			return nil
		}
		if err := r.event(&r.ev); err != nil {
			return err
		}
		return v.Event(&r.ev)
	case kindClock:
		if len(r.body) < 9 {
			return r.errorf(r.at, "%w: short clock", ErrDamaged)
		}
		if v.Clock == nil {
			return nil
		}
		return v.Clock(int64(binary.LittleEndian.Uint64(r.body[1:])))
	case kindContainer:
		return visitJSON(r, v.Container)
	case kindNames:
		return visitJSON(r, v.Names)
	case kindDomains:
		if v.Domains == nil {
			return nil
		}
		return visitJSON(r, func(d *Domains) error { return v.Domains(*d) })
	}
	return nil
}

func visitJSON[T any](r *Reader, f func(*T) error) error {
	if f == nil {
		return nil
	}
	v := new(T)
	if err := json.Unmarshal(r.body[1:], v); err != nil {
		return r.errorf(r.at, "%w: %w", ErrDamaged, err)
	}
	return f(v)
}

// event decodes the frame in body.
func (r *Reader) event(ev *event.Event) error {
	b := r.body
	if len(b) < eventHeader {
		return r.errorf(r.at, "%w: short event", ErrDamaged)
	}
	n := uint64(binary.LittleEndian.Uint32(b[4:]))
	if n > uint64(len(b)-eventHeader) {
		return r.errorf(r.at, "%w: record of %d bytes in a frame of %d", ErrDamaged, n, len(b))
	}
	record, completion := b[eventHeader:eventHeader+n], b[eventHeader+n:]
	if err := r.decode(record, ev); err != nil {
		return err
	}
	if len(completion) > 0 {
		if err := r.decode(completion, &r.done); err != nil {
			return err
		}
		decode.Complete(ev, &r.done)
		ev.Completion = completion
	}
	if b[1]&frameNoResult != 0 {
		ev.Flags |= event.NoResult
	}
	if b[1]&framePassed != 0 {
		ev.Flags |= event.ProcessOnly
	}
	ev.Seq, ev.ReadNS = binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	if ev.Seq == 0 {
		ev.Seq = r.events
	}
	return nil
}

// decode decodes one record, after giving it this program's event type.
func (r *Reader) decode(b []byte, ev *event.Event) error {
	if t := int(decode.Type(b)); r.types != nil && t != 0 {
		ours := field.EventType(0)
		if t < len(r.types) {
			ours = r.types[t]
		}
		decode.SetType(b, ours)
	}
	if err := decode.Record(b, ev); err != nil {
		return r.errorf(r.at, "%w: %w", ErrDamaged, err)
	}
	if ev.Type != 0 && !known.Has(ev.Type) {
		return r.errorf(r.at, "%w: event type %d", ErrDamaged, ev.Type)
	}
	return nil
}

// end checks the end mark in body, and that nothing follows.
func (r *Reader) end() error {
	if len(r.body) < 9 || binary.LittleEndian.Uint64(r.body[1:]) != r.events {
		return r.errorf(r.at, "%w: the end mark does not fit the %d events before it", ErrDamaged, r.events)
	}
	if _, err := r.r.ReadByte(); !errors.Is(err, io.EOF) {
		if err != nil {
			return r.errorf(r.offset, "%w", err)
		}
		return r.errorf(r.offset, "%w: bytes behind the end mark", ErrDamaged)
	}
	return nil
}

// next reads a frame into body and returns its kind.
func (r *Reader) next() (kind, error) {
	r.at = r.offset
	var head [frameHeader]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return 0, r.short(err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n == 0 || n > maxFrame {
		return 0, r.errorf(r.at, "%w: frame of %d bytes", ErrDamaged, n)
	}
	if int(n) > cap(r.body) {
		r.body = make([]byte, n)
	}
	r.body = r.body[:n]
	if _, err := io.ReadFull(r.r, r.body); err != nil {
		return 0, r.short(err)
	}
	if crc32.Checksum(r.body, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return 0, r.errorf(r.at, "%w: checksum of a frame of %d bytes", ErrDamaged, n)
	}
	r.offset += frameHeader + int64(n)
	return kind(r.body[0]), nil
}

// short says that the file ends too early, if that is what err means.
func (r *Reader) short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.errorf(r.at, "%w after %d events", ErrTruncated, r.events)
	}
	return r.errorf(r.at, "%w", err)
}
