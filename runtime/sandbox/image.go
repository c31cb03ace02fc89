package sandbox

import (
	"fmt"
	"os"
	"sync"
	"unsafe"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// maxRegionSizes bounds how many sizes of regions an image keeps free ones of.
const maxRegionSizes = 4

// An image is what memories of a module begin as, held once: each region maps it copy-on-write.
type image struct {
	fd   int    // a sealed memfd; -1 for an empty image
	view []byte // the same, mapped read-only
	size uint64 // bytes, in whole pages
	most int    // free regions kept of each size
	way  *way   // of finding what was written to

	mu   sync.Mutex
	free map[int64][]*region // by size; guarded by mu. nil once closed
}

// newImage returns an image with the content of mem, whose zero pages take no memory.
func newImage(mem []byte, most int, w *way) (*image, error) {
	im := &image{fd: -1, size: uint64(len(mem)), most: most, way: w, free: map[int64][]*region{}}
	if len(mem) == 0 {
		return im, nil
	}
	fd, err := unix.MemfdCreate("tiercel-image", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("create the memory's image: %w", err)
	}
	if err := fill(fd, mem); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("write the memory's image: %w", err)
	}
	view, err := unix.Mmap(fd, 0, len(mem), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("map the memory's image: %w", err)
	}
	im.fd, im.view = fd, view
	return im, nil
}

func fill(fd int, mem []byte) error {
	if err := unix.Ftruncate(fd, int64(len(mem))); err != nil {
		return err
	}
	page := os.Getpagesize()
	for o := 0; o < len(mem); o += page {
		p := mem[o:min(o+page, len(mem))]
		if zero(p) {
			continue
		}
		if _, err := unix.Pwrite(fd, p, int64(o)); err != nil {
			return err
		}
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	return err
}

// content returns a copy of the image. It is read, not looked at through the view: that would give every zero page memory of its own.
func (im *image) content() ([]byte, error) {
	mem := make([]byte, im.size)
	for o := 0; o < len(mem); {
		n, err := unix.Pread(im.fd, mem[o:], int64(o))
		if err != nil {
			return nil, fmt.Errorf("read the memory's image: %w", err)
		}
		if n == 0 {
			return nil, fmt.Errorf("read the memory's image: it ends at byte %d of %d", o, len(mem))
		}
		o += n
	}
	return mem, nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// close frees what the image holds; regions that are still lent are freed when they are given back. It may be called twice.
func (im *image) close() {
	im.mu.Lock()
	defer im.mu.Unlock()
	for _, l := range im.free {
		for _, r := range l {
			r.unmap()
		}
	}
	im.free = nil
	if im.fd >= 0 {
		_, _ = unix.Munmap(im.view), unix.Close(im.fd)
		im.fd, im.view = -1, nil
	}
}

// A region is the memory of one instance at a time: address space that begins as the image and goes on with zeroes. It is the engine's
// allocator for that instance.
type region struct {
	image   *image
	base    []byte // all that may become memory
	size    uint64 // what is memory now
	peak    uint64 // the most that was, since it was taken
	refused bool   // more was asked for than there is

	written []pageRange // what the last look found, if looked
	looked  bool        // since it was mapped or dropped
	same    bool        // no other page was written to since then, as far as the last event goes
	quick   bool        // the last operation was answered at once
}

// take returns a region of size bytes, which is no less than the image.
func (im *image) take(size int64) (*region, error) {
	im.mu.Lock()
	if l := im.free[size]; len(l) > 0 {
		r := l[len(l)-1]
		im.free[size] = l[:len(l)-1]
		im.mu.Unlock()
		return r, nil
	}
	fd := im.fd
	im.mu.Unlock()
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes of address space: %w", size, err)
	}
	r := &region{image: im, base: b}
	if fd < 0 {
		return r, nil
	}
	// The image goes over the head of the reservation, which unmap frees as a whole.
	_, err = unix.MmapPtr(fd, 0, unsafe.Pointer(&b[0]), uintptr(im.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
	if err != nil {
		r.unmap()
		return nil, fmt.Errorf("map the memory's image: %w", err)
	}
	return r, nil
}

func (r *region) unmap() { _ = unix.Munmap(r.base) }

// give takes a region back once its instance is closed, and makes it the image again.
func (r *region) give() {
	im := r.image
	if r.peak > 0 && !r.drop() {
		r.unmap()
		return
	}
	size := int64(len(r.base))
	r.size, r.peak, r.refused = 0, 0, false
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.free == nil || len(im.free[size]) >= im.most || im.free[size] == nil && len(im.free) >= maxRegionSizes {
		r.unmap()
		return
	}
	im.free[size] = append(im.free[size], r)
}

// Allocate implements experimental.MemoryAllocator.
func (r *region) Allocate(_, _ uint64) experimental.LinearMemory { return r }

// Reallocate implements experimental.LinearMemory.
func (r *region) Reallocate(size uint64) []byte {
	if size > uint64(len(r.base)) {
		r.refused = true
		return nil
	}
	r.size, r.peak = size, max(r.peak, size)
	return r.base[:size:size]
}

// Free implements experimental.LinearMemory: whoever took the region gives it back, once nothing can reach it.
func (r *region) Free() {}
