package sandbox

import (
	"fmt"
	"sync"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// maxRegionSizes bounds how many sizes of regions are kept for the next invocation.
const maxRegionSizes = 16

// regions lends the address space that linear memories live in. A memory grows in place, and what was touched goes back to the kernel
// when it is given back, so it begins as zeroes again.
type regions struct {
	most int // kept free ones of each size
	mu   sync.Mutex
	free map[int64][]*region // guarded by mu
}

// A region is the memory of one instance at a time. It is the engine's allocator for that instance.
type region struct {
	base    []byte // all that may become memory; accessible
	size    uint64 // what is memory now
	peak    uint64 // what was memory since it was taken
	refused bool   // more was asked for than there is
}

func newRegions(most int) *regions { return &regions{most: most, free: map[int64][]*region{}} }

// take returns a region of size bytes.
func (rs *regions) take(size int64) (*region, error) {
	rs.mu.Lock()
	if l := rs.free[size]; len(l) > 0 {
		r := l[len(l)-1]
		rs.free[size] = l[:len(l)-1]
		rs.mu.Unlock()
		return r, nil
	}
	rs.mu.Unlock()
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes of address space: %w", size, err)
	}
	return &region{base: b}, nil
}

// give takes a region back once its instance is closed.
func (rs *regions) give(r *region) {
	if r.peak > 0 && unix.Madvise(r.base[:r.peak], unix.MADV_DONTNEED) != nil {
		_ = unix.Munmap(r.base)
		return
	}
	size := int64(len(r.base))
	r.size, r.peak, r.refused = 0, 0, false
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if len(rs.free[size]) >= rs.most || rs.free[size] == nil && len(rs.free) >= maxRegionSizes {
		_ = unix.Munmap(r.base)
		return
	}
	rs.free[size] = append(rs.free[size], r)
}

func (rs *regions) close() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, l := range rs.free {
		for _, r := range l {
			_ = unix.Munmap(r.base)
		}
	}
	clear(rs.free)
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

// Free implements experimental.LinearMemory: the region is given back by whoever took it, once nothing can reach it.
func (r *region) Free() {}
