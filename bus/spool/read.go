package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// read returns the next record that was neither read nor handed on; nil if there is none. Where records are damaged it goes on with the
// first whole one behind them. A segment that cannot be read at all is passed over, and its error returned once.
func (d *disk) read() (*record, error) {
	for d.next < d.end {
		s := d.segmentOf(d.next)
		if d.inSeg != s {
			d.closeIn()
			f, err := os.Open(s.path)
			if err != nil {
				d.skip(s)
				return nil, fmt.Errorf("read spool: %w", err)
			}
			d.in, d.inSeg, d.offset = f, s, 0
		}
		r, n, err := readRecord(d.in, d.offset, s.size)
		switch {
		case err == nil:
			d.offset += n
			if r.seq < d.next || r.seq >= d.end {
				continue // acknowledged before, or left from elsewhere
			}
			d.gap(r.seq)
			d.next = r.seq + 1
			return r, nil
		case errors.Is(err, io.EOF):
			d.skip(s)
		case errors.Is(err, errDamaged):
			at, ferr := findRecord(d.in, d.offset, s.size)
			if ferr != nil {
				d.skip(s)
				return nil, fmt.Errorf("read spool %s: %w", s.path, ferr)
			}
			d.onDamage(s.path, d.offset, at-d.offset)
			d.offset = at
		default:
			d.skip(s)
			return nil, fmt.Errorf("read spool %s: %w", s.path, err)
		}
	}
	return nil, nil
}

// segmentOf returns the segment that holds seq.
func (d *disk) segmentOf(seq uint64) *segment {
	i := len(d.segments) - 1
	for i > 0 && d.segments[i].first > seq {
		i--
	}
	return d.segments[i]
}

// skip goes on behind s.
func (d *disk) skip(s *segment) {
	upTo := d.end
	for i, t := range d.segments {
		if t == s && i+1 < len(d.segments) {
			upTo = d.segments[i+1].first
		}
	}
	d.gap(upTo)
	d.next = max(d.next, upTo)
}

// gap counts the records from next to before seq as lost: they were written and are not there.
func (d *disk) gap(seq uint64) {
	if seq <= d.next {
		return
	}
	d.onLost(seq-d.next, lostDamaged)
	for s := d.next; s < seq; s++ {
		d.ack(s)
	}
}
