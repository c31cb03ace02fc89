package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/abi"
)

// Each way of resetting brings back the image, whatever was written.
func TestReset(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			if err := w.test(); err != nil {
				if release := kernelRelease(); w.name == "PAGEMAP_SCAN" && before(release, 6, 7) {
					t.Skipf("Linux %s: %v", release, err)
				}
				t.Fatal(err)
			}
			testReset(t, w)
		})
	}
}

func testReset(t *testing.T, w *way) {
	const page = 4096
	mem := make([]byte, 300*16*page)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range mem {
		if i/page%7 != 0 { // zero pages too
			mem[i] = byte(random.Uint32())
		}
	}
	im, err := newImage(mem, 4, w)
	if err != nil {
		t.Fatal(err)
	}
	defer im.close()
	r, err := im.take(int64(len(mem)) * 2)
	if err != nil {
		t.Fatal(err)
	}
	defer r.unmap()
	r.Reallocate(uint64(len(mem)))
	for name, reset := range map[string]func() bool{"reset": r.reset, "drop": r.drop} {
		for _, writes := range []int{0, 1, 2, 50, 400, 5000} {
			for range writes {
				r.base[random.IntN(len(mem))]++
			}
			if !reset() || !bytes.Equal(r.base[:len(mem)], mem) {
				t.Errorf("%s after %d writes: not the image", name, writes)
			}
		}
	}
}

// The first way that passes its test is used, and the report says why not those before it.
func TestChoose(t *testing.T) {
	none := &way{"none", func(*region, *scanner) (int, bool) { return 0, false }}
	misses := &way{"misses", func(_ *region, s *scanner) (int, bool) {
		s.ranges[0] = pageRange{end: uint64(selfTestPages / 2 * os.Getpagesize())}
		return 1, true
	}}
	got, w := choose([]*way{none, misses, ways[2]})
	want := []string{"none: the kernel does not tell which pages were written to", "misses: a page that was written to was not found"}
	if w != ways[2] || got.Reset != "copy" || got.Cost == "" || !slices.Equal(got.Rejected, want) {
		t.Errorf("got %+v", got)
	}
	if got := SelfTest(); got.Reset == "" || (got.Reset == ways[0].name) != (len(got.Rejected) == 0) {
		t.Errorf("here: %+v", got)
	}
}

func kernelRelease() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:])
}

func before(release string, major, minor int) bool {
	var a, b int
	_, _ = fmt.Sscanf(release, "%d.%d", &a, &b)
	return a < major || a == major && b < minor
}

// A memory that grew begins as zeroes behind the image when it is used again.
func TestGrownMemoryIsZeroAgain(t *testing.T) {
	mem := bytes.Repeat([]byte{7}, 64<<10)
	im, err := newImage(mem, 1, ways[0])
	if err != nil {
		t.Fatal(err)
	}
	defer im.close()
	for range 3 {
		r, err := im.take(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		b := r.Reallocate(512 << 10)
		if !bytes.Equal(b[:len(mem)], mem) || !zero(b[len(mem):]) {
			t.Fatal("the memory does not begin as the image and zeroes")
		}
		for i := range b {
			b[i] = 0xaa
		}
		if r.Reallocate(2<<20) != nil || !r.refused {
			t.Error("a memory grew beyond its region")
		}
		r.give()
	}
}

type echo struct{}

func (echo) Call(_ context.Context, op string, request []byte) ([]byte, error) {
	if op == abi.OpKVGet {
		return []byte(`{"value":"v","revision":1}`), nil
	}
	return nil, abi.NewError(abi.CodeUnsupported, string(request))
}

// After every event of a mix of good and bad ones, the memory and globals of every idle instance are those after initialisation; and no
// guest sees that there was another event.
func TestNothingIsLeft(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			if w.test() == nil {
				testNothingIsLeft(t, w, 120)
			}
		})
	}
}

func testNothingIsLeft(t *testing.T, w *way, events int) {
	bin, err := functions.Build(t.Context(), filepath.Join("testdata", "hostile"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Config{CacheDir: TestCache, Slots: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	e.way = w
	m, err := e.Compile(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	subjects := []string{"calls", "self", "entropy", "sleep", "panic", "big-response", "goroutines-100", "grow", "memory", "call-flood", "retry", "log-flood"}
	fuel := map[string]int64{}
	reused := 0
	for i := range events {
		subject := subjects[(i*7+i/13)%len(subjects)]
		inv := Invocation{
			ID: "i", Function: "f", Event: fmt.Appendf(nil, `{"id":"n-%04d","subject":%q}`, i, subject), Time: time.Unix(1, 0),
			Limits: Limits{Timeout: time.Minute, Memory: 16 << 20, Calls: 20},
		}
		res, report, err := m.Handle(t.Context(), inv, echo{})
		if err == nil && !bytes.Contains(res.Data, []byte(`"calls":1`)) {
			t.Fatalf("event %d, %s: %s: a counter kept its value", i, subject, res.Data)
		}
		if was, seen := fuel[subject]; seen && was != report.Fuel {
			t.Fatalf("event %d, %s: %d steps, %d before", i, subject, report.Fuel, was)
		}
		fuel[subject] = report.Fuel
		for _, in := range m.waiting(16 << 20) {
			reused++
			if !bytes.Equal(in.memory.base[:in.memory.size], m.image.view) {
				t.Fatalf("event %d, %s: the memory is not as it was", i, subject)
			}
			for k, g := range in.globals {
				if want := m.globals[k]; g.Get() != want && k != len(m.globals)-1 { // the last is the fuel
					t.Fatalf("event %d, %s: global %s is %d, was %d", i, subject, m.code.globals[k], g.Get(), want)
				}
			}
		}
	}
	if reused < events/2 {
		t.Errorf("an instance was there for the next event %d times of %d", reused, events)
	}
}

// The cache folder keeps what was used last.
func TestPrune(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"oldest", "older", "newest"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(1000+i), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := prune(dir, 250); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(left) != 2 || filepath.Base(left[0]) != "newest" || filepath.Base(left[1]) != "older" {
		t.Errorf("left: %v", left)
	}
}
