package sandbox

import (
	"bytes"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"
)

// watched returns a region that begins as mem and is watched, and was looked at once.
func watched(t *testing.T, mem []byte) *region {
	t.Helper()
	if err := faultsCounted(); err != nil {
		t.Fatal(err) // every Linux counts them
	}
	_, w := selfTest()
	if w.all() {
		t.Skip("no kernel here tells which pages were written to")
	}
	im, err := newImage(mem, 1, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(im.close)
	r, err := im.take(int64(2 * len(mem)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.unmap)
	r.Reallocate(uint64(len(mem)))
	if !r.reset() || !r.looked {
		t.Fatal("the kernel does not tell which pages were written to")
	}
	return r
}

func randomMemory(random *rand.Rand) []byte {
	mem := make([]byte, 1<<20)
	for i := range mem {
		if i/os.Getpagesize()%7 != 0 { // zero pages too
			mem[i] = byte(random.Uint32())
		}
	}
	return mem
}

// A memory is the image again after each of many events that write here and there, and most of them need no look.
func TestWatch(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	mem := randomMemory(random)
	r := watched(t, mem)
	page := os.Getpagesize()
	pages := len(mem) / page
	known := 0
	for event := range 2000 {
		var w watch
		w.begin(r)
		if w.region == nil {
			t.Fatal("a memory that was looked at is not watched")
		}
		written := map[int]bool{}
		for range 10 {
			p := random.IntN(1 + min(event/20, pages-1)) // a new page now and then
			written[p] = true
			r.base[p*page+random.IntN(page)]++
		}
		if event%3 == 0 {
			w.pause()
			w.resume(time.Millisecond)
		}
		w.end()
		if r.same {
			known++
			for p := range written {
				if !r.knows(uint64(p * page)) {
					t.Fatalf("event %d: the first write to page %d was not noticed", event, p)
				}
			}
		}
		if !r.reset() || !bytes.Equal(r.base[:len(mem)], mem) {
			t.Fatalf("event %d: not the image", event)
		}
	}
	if known == 0 {
		t.Error("each event needed a look")
	}
}

// knows reports whether the page at an offset is one of those that a look found.
func (r *region) knows(offset uint64) bool {
	for _, p := range r.written {
		if p.start <= offset && offset < p.end {
			return true
		}
	}
	return false
}

// What is read only, or has been written to before, needs no look; a page that is new, or was dropped since, does.
func TestWatchNotices(t *testing.T) {
	mem := randomMemory(rand.New(rand.NewPCG(5, 6)))
	r := watched(t, mem)
	page := os.Getpagesize()
	same := func(event func()) bool {
		t.Helper()
		for range 2 { // the first touches what it needs of the test itself, too
			var w watch
			w.begin(r)
			event()
			w.end()
		}
		ok := r.same
		if !r.reset() || !bytes.Equal(r.base[:len(mem)], mem) {
			t.Fatal("not the image")
		}
		return ok
	}
	write := func(p int) { r.base[p*page]++ }
	next := 10
	for range 20 {
		if next++; same(func() { next++; write(next) }) {
			t.Fatal("a write to a new page was not noticed")
		}
		if !same(func() { write(next) }) {
			t.Log("a fault of something else") // the runtime's, on this thread
		}
	}
	if !r.drop() || r.looked {
		t.Fatal("after a drop it is still known what was written to")
	}
	var w watch
	w.begin(r)
	write(next)
	w.end()
	if w.region != nil || r.same {
		t.Error("a dropped memory was watched")
	}
	if !r.reset() || !bytes.Equal(r.base[:len(mem)], mem) {
		t.Error("not the image after a drop")
	}
}

// A guest that goes on in another thread may have written anywhere.
func TestWatchLosesThread(t *testing.T) {
	r := watched(t, randomMemory(rand.New(rand.NewPCG(7, 8))))
	w := &watch{}
	w.begin(r)
	w.pause()
	resumed := make(chan bool)
	runtime.LockOSThread() // so that the other has to run in another one
	go func() {
		w.resume(time.Millisecond)
		w.end()
		resumed <- r.same
	}()
	same := <-resumed
	runtime.UnlockOSThread()
	if same {
		t.Error("the other thread's faults are thought to be counted")
	}
}

// An operation that is answered at once, as the one before was, keeps the thread; one that waits does not.
func TestWatchKeepsThread(t *testing.T) {
	r := watched(t, randomMemory(rand.New(rand.NewPCG(9, 10))))
	w := &watch{}
	w.begin(r)
	for i, op := range []struct {
		took time.Duration
		left bool
	}{{time.Second, true}, {quickAnswer / 2, true}, {quickAnswer / 2, false}, {time.Second, false}, {time.Second, true}} {
		w.pause()
		if w.left != op.left {
			t.Errorf("operation %d: the thread was left: %v", i, w.left)
		}
		w.resume(op.took)
	}
	w.end()
	if w.lost {
		t.Log("the goroutine went on in another thread") // as it may
	}
}

// Where faults are not counted, or the first write to a page is not, that is found out.
func TestFaultsNotCounted(t *testing.T) {
	if err := testFaults(func(*watch) int64 { return 0 }); err == nil {
		t.Error("a counter that stands still passes")
	}
	every := 0
	missesOne := func(w *watch) int64 {
		if every++; every == selfTestPages {
			return w.faults
		}
		return w.count()
	}
	if err := testFaults(missesOne); err == nil {
		t.Error("a counter that misses a write passes")
	}
	if err := testFaults((*watch).count); err != nil {
		t.Error(err)
	}
}

// A memory that was not looked at yet, or that all of is copied, is not watched.
func TestNotWatched(t *testing.T) {
	im, err := newImage(make([]byte, 1<<20), 1, ways[len(ways)-1])
	if err != nil {
		t.Fatal(err)
	}
	defer im.close()
	r, err := im.take(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer r.unmap()
	r.Reallocate(1 << 20)
	for range 2 {
		var w watch
		w.begin(r)
		w.pause()
		w.resume(time.Millisecond)
		w.end()
		if w.region != nil || r.same {
			t.Error("watched")
		}
		if !r.reset() || r.looked {
			t.Error("a copy of everything passes for a look")
		}
	}
}
