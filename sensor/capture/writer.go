package capture

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/tiercel-project/tiercel/sensor/event"
)

// A Writer writes a file. It belongs to one goroutine at a time. After an error it writes nothing more and returns that error again.
type Writer struct {
	w       *bufio.Writer
	limit   int64
	written int64
	events  uint64
	buf     []byte
	err     error
}

// endSize is what is kept free for the end mark.
const endSize = frameHeader + 9

// NewWriter writes the beginning of a file to w. limit is how many bytes the file may have; 0: any number. Events take at most seven eighths
// of it, so that names have room when they have reached that. Close the Writer; w stays open.
func NewWriter(w io.Writer, h Header, limit int64) (*Writer, error) {
	c := &Writer{w: bufio.NewWriterSize(w, 256<<10), limit: limit}
	if _, err := c.w.WriteString(magic); err != nil {
		return nil, fmt.Errorf("write capture: %w", err)
	}
	c.written = int64(len(magic))
	if err := c.json(kindHeader, h); err != nil {
		return nil, err
	}
	return c, nil
}

// A Record is an event as the kernel sent it.
type Record struct {
	Seq        uint64 // position in the merged order; 0: the reader counts
	ReadNS     uint64 // boot time at which it was read
	NoResult   bool   // of io_uring: without its completion
	Passed     bool   // rules do not see it
	Record     []byte
	Completion []byte // of io_uring; may be empty
}

// Event writes ev. It returns ErrNoRecord, and goes on, if ev has none.
func (c *Writer) Event(ev *event.Event) error {
	return c.Record(&Record{
		Seq: ev.Seq, ReadNS: ev.ReadNS, NoResult: ev.Flags&event.NoResult != 0, Passed: ev.Flags&event.ProcessOnly != 0, Record: ev.Raw, Completion: ev.Completion,
	})
}

// Record writes r. It returns ErrNoRecord, and goes on, if r is empty.
func (c *Writer) Record(r *Record) error {
	if len(r.Record) == 0 {
		return ErrNoRecord
	}
	b := c.begin(kindEvent)
	var flags byte
	if r.NoResult {
		flags = frameNoResult
	}
	if r.Passed {
		flags |= framePassed
	}
	b = append(b, flags, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Record)))
	b = binary.LittleEndian.AppendUint64(b, r.Seq)
	b = binary.LittleEndian.AppendUint64(b, r.ReadNS)
	b = append(append(b, r.Record...), r.Completion...)
	if err := c.frame(b); err != nil {
		return err
	}
	c.events++
	return nil
}

// Clock says what the wall clock minus the boot clock is from here on.
func (c *Writer) Clock(offsetNS int64) error {
	return c.frame(binary.LittleEndian.AppendUint64(c.begin(kindClock), uint64(offsetNS)))
}

// Container writes what is known of a container. The last word on a container counts, for all its events.
func (c *Writer) Container(v *Container) error { return c.json(kindContainer, v) }

// Names writes users and groups. The last word on a root counts, for all events.
func (c *Writer) Names(v *Names) error { return c.json(kindNames, v) }

// Domains writes the names of addresses. The last word counts, for all events.
func (c *Writer) Domains(v Domains) error { return c.json(kindDomains, v) }

func (c *Writer) json(k kind, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return c.frame(append(c.begin(k), b...))
}

// begin returns the buffer of a frame of kind k, with room for its head.
func (c *Writer) begin(k kind) []byte {
	return append(append(c.buf[:0], make([]byte, frameHeader)...), byte(k))
}

// frame writes what begin began.
func (c *Writer) frame(b []byte) error {
	c.buf = b
	if c.err != nil {
		return c.err
	}
	body := b[frameHeader:]
	if len(body) > maxFrame {
		return fmt.Errorf("write capture: %d bytes do not fit into a frame", len(body))
	}
	if c.limit > 0 && c.written+int64(len(b)) > c.room(kind(body[0])) {
		return ErrFull
	}
	binary.LittleEndian.PutUint32(b, uint32(len(body)))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(body, castagnoli))
	if _, err := c.w.Write(b); err != nil {
		c.err = fmt.Errorf("write capture: %w", err)
		return c.err
	}
	c.written += int64(len(b))
	return nil
}

// room is how large the file may be after a frame of kind k.
func (c *Writer) room(k kind) int64 {
	switch k {
	case kindHeader, kindEnd:
		return math.MaxInt64
	case kindEvent:
		return c.limit - c.limit/8 - endSize
	}
	return c.limit - endSize
}

// Events is how many events were written, those of the state before included.
func (c *Writer) Events() uint64 { return c.events }

// Size is how many bytes were written.
func (c *Writer) Size() int64 { return c.written }

// Flush hands on what is buffered.
func (c *Writer) Flush() error {
	if c.err == nil {
		if err := c.w.Flush(); err != nil {
			c.err = fmt.Errorf("write capture: %w", err)
		}
	}
	return c.err
}

// Close writes the end mark and flushes. It is called once.
func (c *Writer) Close() error {
	if err := c.frame(binary.LittleEndian.AppendUint64(c.begin(kindEnd), c.events)); err != nil {
		return err
	}
	return c.Flush()
}
