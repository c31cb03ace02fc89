package kernel

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/tiercel-project/tiercel/sensor/decode"
	"golang.org/x/sys/unix"
)

// The kernel's ring buffer: a page for the consumer, a page for the producer, the data twice in a row. Records stand in the order in
// which space was taken for them, which differs a little from that of their times, taken before.
const (
	recordBusy    = 1 << 31
	recordDiscard = 1 << 30
	recordHeader  = 8
)

// batchRecords bounds how many records of a ring are looked at before its space is given back, where they are handed out by time alone.
const batchRecords = 1024

// leastRecord is how large a record with its header is at least: with turns, a whole ring of them is looked at.
const leastRecord = 208

// busySpins bounds the wait for a record whose space is taken and whose bytes another CPU is writing.
const busySpins = 2000

// A ring is the reading side of one ring buffer.
type ring struct {
	name     string
	size     int
	fd       int
	consumer []byte
	data     []byte // producer page and data, read-only
	mask     uint64

	scan  uint64 // position up to which records have been looked at
	queue queue  // of those looked at and not handed out
	most  int    // entries of the queue
	cut   bool   // there is more behind scan

	received atomic.Uint64
	unread   atomic.Uint64 // records that were left when Run returned
}

// openRing maps a ring. fair is whether cgroups take turns.
func openRing(name string, m *ebpf.Map, fair bool) (*ring, error) {
	size := int(m.MaxEntries())
	r := &ring{name: name, size: size, fd: m.FD(), mask: uint64(size - 1), most: batchRecords}
	if fair {
		r.queue.perTurn, r.most = turnRecords, size/leastRecord
	}
	var err error
	page := os.Getpagesize()
	if r.consumer, err = unix.Mmap(r.fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map %s ring: %w", name, err)
	}
	if r.data, err = unix.Mmap(r.fd, int64(page), page+2*size, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		_ = unix.Munmap(r.consumer)
		return nil, fmt.Errorf("map %s ring: %w", name, err)
	}
	r.scan = r.consumerPos().Load()
	return r, nil
}

func (r *ring) close() {
	_ = unix.Munmap(r.consumer)
	_ = unix.Munmap(r.data)
	r.consumer, r.data = nil, nil
}

func (r *ring) consumerPos() *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&r.consumer[0])) }

func (r *ring) produced() uint64 { return (*atomic.Uint64)(unsafe.Pointer(&r.data[0])).Load() }

// used is how many bytes have not been read.
func (r *ring) used() uint64 {
	read := r.consumerPos().Load() // first: it does not pass the other
	return r.produced() - read
}

// records is the data part; every record is contiguous in it.
func (r *ring) records() []byte { return r.data[os.Getpagesize():] }

// record returns the bytes of an entry.
func (r *ring) record(e *entry) []byte {
	from := e.pos&r.mask + recordHeader
	return r.records()[from : from+uint64(e.n) : from+uint64(e.n)]
}

// look takes note of the records up to position end.
func (r *ring) look(end uint64) {
	data := r.records()
	r.cut = false
	for r.scan < end {
		if r.queue.left >= r.most {
			r.cut = true
			break
		}
		header := (*atomic.Uint32)(unsafe.Pointer(&data[r.scan&r.mask]))
		n := header.Load()
		for spins := 0; n&recordBusy != 0 && spins < busySpins; spins++ {
			n = header.Load()
		}
		if n&recordBusy != 0 {
			r.cut = true
			break
		}
		size := n &^ (recordBusy | recordDiscard)
		if n&recordDiscard == 0 {
			e := entry{pos: r.scan, n: size}
			b := r.record(&e)
			e.time = decode.Time(b)
			r.queue.add(e, decode.CgroupOf(b))
		}
		r.scan += uint64(size+recordHeader+7) &^ 7
	}
	r.queue.sort()
}

// release ends the turn if it is over and gives the space before what is left back to the kernel. n records were handed out.
func (r *ring) release(n int) {
	r.received.Add(uint64(n))
	r.queue.end()
	r.consumerPos().Store(r.queue.oldest(r.scan))
}

// waiting returns the time of the first record that was not handed out, of those before boot time now: now if there is none, 0 if its time is
// not known.
func (r *ring) waiting(now uint64) uint64 {
	pos := r.consumerPos().Load()
	switch {
	case pos < r.scan:
		header := (*atomic.Uint32)(unsafe.Pointer(&r.records()[pos&r.mask])).Load()
		return decode.Time(r.record(&entry{pos: pos, n: header &^ (recordBusy | recordDiscard)}))
	case r.cut:
		return 0
	}
	return now
}

// before counts the records before position end that have not been handed out.
func (r *ring) before(end uint64) uint64 {
	n := r.queue.before(end)
	data := r.records()
	for pos := r.scan; pos < end; {
		header := (*atomic.Uint32)(unsafe.Pointer(&data[pos&r.mask])).Load()
		if header&recordDiscard == 0 {
			n++
		}
		pos += uint64(header&^(recordBusy|recordDiscard)+recordHeader+7) &^ 7
	}
	return n
}

// readerState is the word by which the kernel knows whether to wake the reader.
type readerState struct {
	page []byte
}

// States of the reader, as in bpf/c/maps.h.
const (
	readerAwake uint64 = iota
	readerBusy
	readerWaits
	readerIdle
)

func openReaderState(m *ebpf.Map) (*readerState, error) {
	page, err := unix.Mmap(m.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map reader state: %w", err)
	}
	return &readerState{page}, nil
}

// set announces the state. It is a full barrier: what the kernel writes after it has seen another state, the reader sees next.
func (s *readerState) set(v uint64) { (*atomic.Uint64)(unsafe.Pointer(&s.page[0])).Swap(v) }

func (s *readerState) close() { _ = unix.Munmap(s.page) }
