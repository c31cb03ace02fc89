package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Resetting a memory puts back the pages that differ from the image. Which those are, the kernel tells: a page of the mapping that was
// written to is no longer the file's. Where it does not tell, the whole image is copied; where too many pages are written to, all are
// dropped and come back from the image one fault at a time. And where it is certain that they are those of last time, nobody looks: see watch.

// A way is one of finding the pages that were written to.
type way struct {
	name string
	// find appends the ranges of r's memory, in offsets, that were written to. ok is false if it cannot tell now; then all is dropped.
	find func(r *region, s *scanner) (n int, ok bool)
}

// ways lists them, the fastest first. The last works everywhere.
var ways = []*way{
	{"PAGEMAP_SCAN", scanPagemap}, // Linux 6.7
	{"/proc/self/pagemap", readPagemap},
	{"copy", func(r *region, s *scanner) (int, bool) { s.ranges[0] = pageRange{end: r.size}; return 1, true }},
}

// all reports whether it finds all pages, whichever were written to.
func (w *way) all() bool { return w.name == "copy" }

const (
	maxRanges     = 256 // of written pages in one memory
	maxCopyPages  = 256 // above that, dropping them is cheaper, and an idle instance holds no more than that
	selfTestPages = 64
)

// A pageRange is the kernel's struct page_region; find leaves offsets in it.
type pageRange struct{ start, end, categories uint64 }

// A scanner is room for one look.
type scanner struct {
	arg     scanArg
	ranges  [maxRanges]pageRange
	entries []byte // of /proc/self/pagemap
}

var scanners = sync.Pool{New: func() any { return new(scanner) }}

// A SelfTested says how memories are reset on this machine, as found out by trying.
type SelfTested struct {
	Reset    string   `json:"reset"`              // the way in use: PAGEMAP_SCAN, /proc/self/pagemap or copy
	Rejected []string `json:"rejected,omitempty"` // faster ways that do not work here, with the reason
	Cost     string   `json:"cost,omitempty"`     // what that costs; empty: nothing
	Always   string   `json:"always,omitempty"`   // why it is done after every event; empty: only after one that took a page fault
}

// SelfTest tries the ways to reset a memory, the fastest first, and returns which is used. It is done once in a process.
func SelfTest() SelfTested {
	t, _ := selfTest()
	return t
}

var selfTest = sync.OnceValues(func() (SelfTested, *way) {
	t, w := choose(ways)
	if err := faultsCounted(); err != nil {
		t.Always = err.Error()
	} else if w.all() {
		t.Always = "all of a memory is copied"
	}
	return t, w
})

func choose(ways []*way) (t SelfTested, w *way) {
	for _, w = range ways {
		err := w.test()
		if err == nil {
			break
		}
		t.Rejected = append(t.Rejected, fmt.Sprintf("%s: %v", w.name, err))
	}
	t.Reset = w.name
	switch t.Reset {
	case "PAGEMAP_SCAN":
	case "copy":
		t.Cost = "each event of a function copies all of its memory's image: 50 to 250 µs for a Go module; gVisor and hardened /proc mounts do this"
	default:
		t.Cost = "none to speak of: Linux before 6.7"
	}
	return t, w
}

// test resets a memory and looks whether it is as before.
func (w *way) test() error {
	page := os.Getpagesize()
	mem := make([]byte, selfTestPages*page)
	for i := range mem {
		if i/page%5 != 0 { // zero pages too
			mem[i] = byte(i/page + i)
		}
	}
	im, err := newImage(mem, 1, w)
	if err != nil {
		return err
	}
	defer im.close()
	r, err := im.take(int64(2 * len(mem)))
	if err != nil {
		return err
	}
	defer r.unmap()
	r.Reallocate(uint64(len(mem)))
	for range 2 {
		for i := 0; i < selfTestPages; i += 3 {
			r.base[i*page+i] ^= 0xff // writes
			sink(r.base[(i+1)%selfTestPages*page])
		}
		r.base[len(mem)-1] ^= 1
		pages, ok := r.copyBack()
		switch {
		case !ok:
			return errors.New("the kernel does not tell which pages were written to")
		case string(r.base[:len(mem)]) != string(mem):
			return errors.New("a page that was written to was not found")
		case !w.all() && pages < selfTestPages/3:
			return fmt.Errorf("%d pages found, at least %d were written to", pages, selfTestPages/3)
		}
	}
	return nil
}

//go:noinline
func sink(byte) {}

// reset makes the memory, which has the image's size, the image again.
func (r *region) reset() bool {
	if _, ok := r.copyBack(); ok {
		return true
	}
	return r.drop()
}

// drop drops every page that was touched: what is read next is the image's, or zero behind it.
func (r *region) drop() bool {
	r.looked, r.same = false, false
	return unix.Madvise(r.base[:r.peak], unix.MADV_DONTNEED) == nil
}

// copyBack copies the pages that were written to from the image, and reports how many; or it copies none and reports false.
func (r *region) copyBack() (pages int, ok bool) {
	if r.size == 0 {
		return 0, true
	}
	if !r.same && !r.look() {
		return 0, false
	}
	r.same = false // until a watch says so again
	for _, p := range r.written {
		copy(r.base[p.start:p.end], r.image.view[p.start:p.end])
		pages += int(p.end - p.start)
	}
	return pages / os.Getpagesize(), true
}

// look finds the pages that were written to, and reports whether they are known and few enough.
func (r *region) look() bool {
	r.looked = false
	s := scanners.Get().(*scanner)
	defer scanners.Put(s)
	n, ok := r.image.way.find(r, s)
	if !ok {
		return false
	}
	r.written = append(r.written[:0], s.ranges[:n]...)
	if r.image.way.all() {
		return true
	}
	var size uint64
	for _, p := range r.written {
		size += p.end - p.start
	}
	r.looked = size <= uint64(maxCopyPages*os.Getpagesize())
	return r.looked
}

// pagemap is the file that the kernel tells through; nil if it cannot be opened.
var pagemap = sync.OnceValue(func() *os.File {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil
	}
	return f
})

// pagemapFD is its descriptor: it is never closed.
var pagemapFD = sync.OnceValue(func() uintptr { return pagemap().Fd() })

const (
	pagemapScanCall = 0xc0606610 // _IOWR('f', 16, struct pm_scan_arg)

	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4
)

// A scanArg is the kernel's struct pm_scan_arg.
type scanArg struct {
	size, flags, start, end, walkEnd, vec, vecLen, maxPages uint64
	inverted, mask, anyOf, returned                         uint64
}

func scanPagemap(r *region, s *scanner) (int, bool) {
	if pagemap() == nil {
		return 0, false
	}
	base := uint64(uintptr(unsafe.Pointer(&r.base[0])))
	s.arg = scanArg{
		size: uint64(unsafe.Sizeof(s.arg)), start: base, end: base + r.size,
		vec: uint64(uintptr(unsafe.Pointer(&s.ranges[0]))), vecLen: maxRanges,
		inverted: pageIsFile, mask: pageIsFile, anyOf: pageIsPresent | pageIsSwapped,
	}
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, pagemapFD(), pagemapScanCall, uintptr(unsafe.Pointer(&s.arg)))
	runtime.KeepAlive(s)
	if errno != 0 || s.arg.walkEnd != s.arg.end || n > maxRanges {
		return 0, false
	}
	for i := range s.ranges[:n] {
		s.ranges[i].start -= base
		s.ranges[i].end -= base
	}
	return int(n), true
}

// Bits of an entry of /proc/self/pagemap, see Documentation/admin-guide/mm/pagemap.rst.
const (
	entryPresent = 1 << 63
	entrySwapped = 1 << 62
	entryFile    = 1 << 61 // or shared
)

func readPagemap(r *region, s *scanner) (n int, ok bool) {
	f := pagemap()
	if f == nil {
		return 0, false
	}
	page := uint64(os.Getpagesize())
	pages := (r.size + page - 1) / page
	if uint64(len(s.entries)) < 8*pages {
		s.entries = make([]byte, 8*pages)
	}
	entries := s.entries[:8*pages]
	first := uint64(uintptr(unsafe.Pointer(&r.base[0]))) / page
	if got, err := f.ReadAt(entries, int64(8*first)); err != nil || got != len(entries) {
		return 0, false
	}
	for i := range pages {
		e := binary.NativeEndian.Uint64(entries[8*i:])
		if e&(entryPresent|entrySwapped) == 0 || e&entryFile != 0 {
			continue
		}
		start := i * page
		end := min(start+page, r.size)
		if n > 0 && s.ranges[n-1].end == start {
			s.ranges[n-1].end = end
			continue
		}
		if n == maxRanges {
			return 0, false
		}
		s.ranges[n] = pageRange{start: start, end: end}
		n++
	}
	return n, true
}
