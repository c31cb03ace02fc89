package sandbox

import (
	"os"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Resetting a memory puts back the pages that differ from the image. Which those are, the kernel tells: a page of the mapping that was
// written to is no longer the file's (ioctl PAGEMAP_SCAN, Linux 6.7). Where it does not tell, or too many are, all are dropped and come
// back from the image one fault at a time.

const (
	pagemapScan = 0xc0606610 // _IOWR('f', 16, struct pm_scan_arg)

	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4

	maxRanges     = 256 // of written pages in one memory
	maxCopyPages  = 512 // above that, dropping them is cheaper
	selfTestPages = 64
)

// A scanArg is the kernel's struct pm_scan_arg.
type scanArg struct {
	size, flags, start, end, walkEnd, vec, vecLen, maxPages uint64
	inverted, mask, anyOf, returned                         uint64
}

// A pageRange is the kernel's struct page_region.
type pageRange struct{ start, end, categories uint64 }

type scanner struct {
	arg    scanArg
	ranges [maxRanges]pageRange
}

var scanners = sync.Pool{New: func() any { return new(scanner) }}

// pagemap returns the file to scan through, or nil if the kernel cannot or does not do it right.
var pagemap = sync.OnceValue(func() *os.File {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil
	}
	if !scanWorks(f) {
		f.Close()
		return nil
	}
	return f
})

// ResetsByScan reports whether memories are reset page by page, which is faster than the alternative.
func ResetsByScan() bool { return pagemap() != nil }

// scanWorks resets a memory and looks whether it is as before.
func scanWorks(f *os.File) bool {
	page := os.Getpagesize()
	mem := make([]byte, selfTestPages*page)
	for i := range mem {
		mem[i] = byte(i / page)
	}
	im, err := newImage(mem, 1)
	if err != nil {
		return false
	}
	defer im.close()
	r, err := im.take(int64(2 * len(mem)))
	if err != nil {
		return false
	}
	defer r.unmap()
	r.Reallocate(uint64(len(mem)))
	for i := 0; i < selfTestPages; i += 3 {
		r.base[i*page+i] = 0xff // writes
		_ = r.base[(i+1)*page]  // reads
	}
	pages, ok := r.copyBack(f)
	return ok && pages == (selfTestPages+2)/3 && string(r.base[:len(mem)]) == string(mem)
}

// reset makes the memory, which has the image's size, the image again.
func (r *region) reset() bool {
	if f := pagemap(); f != nil {
		if _, ok := r.copyBack(f); ok {
			return true
		}
	}
	return r.drop()
}

// drop drops every page that was touched: what is read next is the image's, or zero behind it.
func (r *region) drop() bool { return unix.Madvise(r.base[:r.peak], unix.MADV_DONTNEED) == nil }

// copyBack copies the pages that were written to from the image, and reports how many; or it copies none and reports false.
func (r *region) copyBack(f *os.File) (pages int, ok bool) {
	if r.size == 0 {
		return 0, true
	}
	s := scanners.Get().(*scanner)
	defer scanners.Put(s)
	base := uint64(uintptr(unsafe.Pointer(&r.base[0])))
	s.arg = scanArg{
		size: uint64(unsafe.Sizeof(s.arg)), start: base, end: base + r.size,
		vec: uint64(uintptr(unsafe.Pointer(&s.ranges[0]))), vecLen: maxRanges,
		inverted: pageIsFile, mask: pageIsFile, anyOf: pageIsPresent | pageIsSwapped,
	}
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), pagemapScan, uintptr(unsafe.Pointer(&s.arg)))
	runtime.KeepAlive(s)
	if errno != 0 || s.arg.walkEnd != s.arg.end || n > maxRanges {
		return 0, false
	}
	for _, p := range s.ranges[:n] {
		pages += int(p.end-p.start) / os.Getpagesize()
	}
	if pages > maxCopyPages {
		return pages, false
	}
	for _, p := range s.ranges[:n] {
		copy(r.base[p.start-base:p.end-base], r.image.view[p.start-base:p.end-base])
	}
	return pages, true
}
