// Package capture is the file format of recorded kernel events: their records as they came out of the rings, with what is needed to judge
// them again elsewhere, at another time, by other rules: processes and cgroups that were there before, the names of containers, users and
// domains, and the clock. Replaying one is package sensor's.
//
// A file is a magic number and then frames, each with its length and checksum. The first frame is the Header, the last one an end mark: a
// file without it was cut short, and what is whole of it can be read. Read Writer and Reader first.
package capture

import (
	"errors"
	"fmt"
	"hash/crc32"
)

// FormatVersion is the version of the format that Writer writes. Reader reads this one only.
const FormatVersion = 1

const (
	magic       = "\x89tiercel capture\n"
	frameHeader = 8 // length and checksum of the body, 32 bits each, little-endian
	eventHeader = 24
	// maxFrame bounds a frame's body. The largest are the users of a container.
	maxFrame = 4 << 20
)

// Flags of an event's frame.
const (
	frameNoResult = 1 << iota
	framePassed
)

// A kind is the first byte of a frame's body.
type kind byte

const (
	kindHeader    kind = iota + 1 // JSON, Header
	kindEvent                     // see Writer.Record
	kindClock                     // 64 bits: wall clock minus boot clock, in ns
	kindContainer                 // JSON, Container
	kindNames                     // JSON, Names
	kindDomains                   // JSON, Domains
	kindEnd                       // 64 bits: events in the file
)

// Errors of reading and writing.
var (
	// ErrNoCapture means that a file is something else.
	ErrNoCapture = errors.New("no capture")
	// ErrVersion means that a file is of a version of the format, or of records of a layout, that this program does not know.
	ErrVersion = errors.New("capture of another version")
	// ErrTruncated means that a file ends before its end mark: its writer was stopped, or the copy is not complete.
	ErrTruncated = errors.New("capture is cut short")
	// ErrDamaged means that a frame is not what was written.
	ErrDamaged = errors.New("capture is damaged")
	// ErrFull means that a Writer has reached its limit.
	ErrFull = errors.New("capture has reached its size limit")
	// ErrNoRecord means that an event has no record to be written.
	ErrNoRecord = errors.New("event without its record")
)

// An Error is a problem at a known place of a file.
type Error struct {
	File   string
	Offset int64 // of the frame
	Err    error // wraps one of the errors above, or one of reading
}

func (e *Error) Error() string { return fmt.Sprintf("%s: offset %d: %v", e.File, e.Offset, e.Err) }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Is reports whether b, the first bytes of a file, are those of a capture.
func Is(b []byte) bool { return len(b) >= len(magic) && string(b[:len(magic)]) == magic }
