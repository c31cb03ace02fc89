package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// segments is how many a full spool has, about.
const segments = 32

// A segment is a file of records. Its name is the number of its first record.
type segment struct {
	path  string
	first uint64
	size  int64
}

// A disk is the directory of a spool. It belongs to one goroutine at a time.
//
// Records are numbered. Those below done are acknowledged, those in early are too; those below next were read, or were handed on when they
// were written.
type disk struct {
	dir      string
	lock     *os.File
	max      int64
	segments []*segment // oldest first; the last one is written to
	size     int64      // of all
	out      *os.File   // the last segment
	full     []*os.File // earlier ones that are to be synced and closed
	end      uint64     // number of the next record
	done     uint64
	early    map[uint64]bool
	next     uint64
	alone    int      // records below done that are not acknowledged: they went to make room after they were handed on
	in       *os.File // the segment that holds next; nil: not open
	inSeg    *segment
	offset   int64
	cursor   []byte // memory of its file
	buf      []byte
	unsynced bool

	onDamage func(path string, offset, bytes int64)
	onLost   func(n uint64, reason string)
}

const suffix = ".spool"

// openDisk opens the directory, which nobody else may have open.
func openDisk(dir string, maxBytes int64) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make spool: %w", err)
	}
	d := &disk{
		dir: dir, max: maxBytes, early: map[uint64]bool{},
		onDamage: func(string, int64, int64) {}, onLost: func(uint64, string) {},
	}
	var err error
	if d.lock, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("lock spool: %w", err)
	}
	if err := unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = d.lock.Close()
		return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	if err := d.mapCursor(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// recover finds what an earlier process left.
func (d *disk) recover() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return fmt.Errorf("read spool: %w", err)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		first, err := strconv.ParseUint(name, 16, 64)
		info, infoErr := e.Info()
		if !ok || err != nil || infoErr != nil || !e.Type().IsRegular() {
			continue
		}
		d.segments = append(d.segments, &segment{path: filepath.Join(d.dir, e.Name()), first: first, size: info.Size()})
		d.size += info.Size()
	}
	slices.SortFunc(d.segments, func(a, b *segment) int { return strings.Compare(a.path, b.path) })
	d.done = max(d.readCursor(), 1)
	d.end = d.done
	if n := len(d.segments); n > 0 {
		last, err := d.lastIn(d.segments[n-1])
		if err != nil {
			return err
		}
		d.end = max(d.end, d.segments[n-1].first, last+1)
		d.done = max(d.done, d.segments[0].first)
	}
	d.next = d.done
	return d.roll()
}

// lastIn returns the number of the last record of s, 0 if it has none. It reports a last record that is torn.
func (d *disk) lastIn(s *segment) (last uint64, err error) {
	f, err := os.Open(s.path)
	if err != nil {
		return 0, fmt.Errorf("read spool: %w", err)
	}
	defer f.Close()
	for offset := int64(0); ; {
		r, n, err := readRecord(f, offset, s.size)
		switch {
		case err == nil:
			last, offset = r.seq, offset+n
		case errors.Is(err, io.EOF):
			return last, nil
		case errors.Is(err, errDamaged):
			at, err := findRecord(f, offset, s.size)
			if err != nil {
				return 0, fmt.Errorf("read spool %s: %w", s.path, err)
			}
			if at == s.size { // nobody reads so far
				d.onDamage(s.path, offset, at-offset)
				d.onLost(1, lostDamaged)
			}
			offset = at // others are reported when they are read
		default:
			return 0, fmt.Errorf("read spool %s: %w", s.path, err)
		}
	}
}

// readCursor returns the number below which all is acknowledged, 0 if nobody knows.
func (d *disk) readCursor() uint64 {
	if crc32.Checksum(d.cursor[:8], castagnoli) != binary.LittleEndian.Uint32(d.cursor[8:]) {
		return 0
	}
	return binary.LittleEndian.Uint64(d.cursor)
}

// writeCursor keeps done. Memory of the file outlives the process; an old cursor costs duplicates only, and their ids remove those.
func (d *disk) writeCursor() {
	binary.LittleEndian.PutUint64(d.cursor, d.done)
	binary.LittleEndian.PutUint32(d.cursor[8:], crc32.Checksum(d.cursor[:8], castagnoli))
}

// cursorSize is the size of the cursor's file, of which twelve bytes are used.
const cursorSize = 4096

// mapCursor maps the file of the cursor.
func (d *disk) mapCursor() error {
	f, err := os.OpenFile(filepath.Join(d.dir, "cursor"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open spool: %w", err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, cursorSize); err != nil && !errors.Is(err, unix.EOPNOTSUPP) { // a full disk must not be a SIGBUS later
		return fmt.Errorf("open spool: %w", err)
	}
	if err := f.Truncate(cursorSize); err != nil {
		return fmt.Errorf("open spool: %w", err)
	}
	if d.cursor, err = unix.Mmap(int(f.Fd()), 0, cursorSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map cursor of spool: %w", err)
	}
	return nil
}

// roll begins a segment.
func (d *disk) roll() error {
	s := &segment{path: filepath.Join(d.dir, fmt.Sprintf("%016x", d.end)+suffix), first: d.end}
	if n := len(d.segments); n > 0 && d.segments[n-1].first == d.end { // without a whole record
		d.drop(n - 1)
	}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("make segment of spool: %w", err)
	}
	switch {
	case d.out == nil:
	case d.unsynced:
		d.full = append(d.full, d.out)
	default:
		_ = d.out.Close()
	}
	d.out, d.unsynced = f, false
	d.segments = append(d.segments, s)
	return nil
}

// append writes a record and returns its number.
func (d *disk) append(subject, id string, data []byte) (uint64, error) {
	if s := d.segments[len(d.segments)-1]; s.size >= d.max/segments {
		if err := d.roll(); err != nil {
			return 0, err
		}
		d.clean()
	}
	s := d.segments[len(d.segments)-1]
	d.buf = appendRecord(d.buf[:0], &record{seq: d.end, subject: subject, id: id, data: data})
	if _, err := d.out.Write(d.buf); err != nil {
		_ = d.out.Truncate(s.size) // what was written of it
		return 0, fmt.Errorf("write spool: %w", err)
	}
	s.size += int64(len(d.buf))
	d.size += int64(len(d.buf))
	d.unsynced = true
	d.end++
	for d.size > d.max && len(d.segments) > 1 {
		d.dropOldest()
	}
	return d.end - 1, nil
}

// dropOldest makes room. What of it was handed on is not lost while this process lives.
func (d *disk) dropOldest() {
	upTo, handed := d.segments[1].first, d.next
	if d.next < upTo {
		d.onLost(upTo-d.next, lostFull)
		d.next = upTo
	}
	for ; d.done < upTo; d.done++ {
		if d.done < handed && !d.early[d.done] {
			d.alone++
		}
		delete(d.early, d.done)
	}
	d.advance() // removes it
}

// has reports whether a record that is not acknowledged is on the disk.
func (d *disk) has(seq uint64) bool { return seq >= d.done }

// ack says that a record is on the bus, or is not wanted any more.
func (d *disk) ack(seq uint64) {
	switch {
	case !d.has(seq):
		d.alone--
		return
	case seq >= d.end:
		return
	}
	d.early[seq] = true
	if seq == d.done {
		d.advance()
	}
}

// advance moves done over what was acknowledged, and removes segments that are.
func (d *disk) advance() {
	for d.early[d.done] {
		delete(d.early, d.done)
		d.done++
	}
	d.writeCursor()
	d.clean()
	const worth = 256 << 10
	if s := d.segments[len(d.segments)-1]; d.done == d.end && d.next == d.end && s.size > worth && d.out.Truncate(0) == nil {
		d.size -= s.size
		s.size = 0
		if d.inSeg == s {
			d.offset = 0
		}
		d.unsynced = false
	}
}

// clean removes the segments that are acknowledged.
func (d *disk) clean() {
	for len(d.segments) > 1 && d.segments[1].first <= d.done {
		d.drop(0)
	}
}

// drop removes segment i.
func (d *disk) drop(i int) {
	s := d.segments[i]
	if d.inSeg == s {
		d.closeIn()
	}
	_ = os.Remove(s.path)
	d.size -= s.size
	d.segments = slices.Delete(d.segments, i, i+1)
}

func (d *disk) closeIn() {
	if d.in != nil {
		_ = d.in.Close()
	}
	d.in, d.inSeg, d.offset = nil, nil, 0
}

// handedOn says that the record seq, the next one, need not be read.
func (d *disk) handedOn(seq uint64) { d.next = seq + 1 }

// pending is how many records are not acknowledged.
func (d *disk) pending() int { return int(d.end-d.done) - len(d.early) }

// toSync returns the files to be synced: those of full are the caller's to close, current, which may be nil, is not.
func (d *disk) toSync() (full []*os.File, current *os.File) {
	full, d.full = d.full, nil
	if d.unsynced {
		d.unsynced = false
		current = d.out
	}
	return full, current
}

// syncFiles syncs what toSync returned. It needs no lock: nobody else closes these files before close.
func syncFiles(full []*os.File, current *os.File) error {
	var errs []error
	for _, f := range full {
		errs = append(errs, f.Sync(), f.Close())
	}
	if current != nil {
		errs = append(errs, current.Sync())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sync spool: %w", err)
	}
	return nil
}

// close leaves the files as they are.
func (d *disk) close() {
	d.closeIn()
	_ = syncFiles(d.toSync())
	if d.cursor != nil {
		_ = unix.Munmap(d.cursor)
		d.cursor = nil
	}
	for _, f := range []*os.File{d.out, d.lock} {
		if f != nil {
			_ = f.Close()
		}
	}
}
