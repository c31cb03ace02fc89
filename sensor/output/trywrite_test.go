package output

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// narrow is a stream that takes at most room bytes at once without waiting, and all of a Write.
type narrow struct {
	room func() int
	mu   sync.Mutex
	b    bytes.Buffer // guarded by mu
}

func (w *narrow) TryWrite(p []byte) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, _ := w.b.Write(p[:min(len(p), w.room())])
	return n
}

func (w *narrow) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *narrow) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// behindOf is how many alerts wait in the queue or are being written.
func behindOf(o *Output) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.behind
}

// TestDirect: what a stream takes at once needs no goroutine; what it does not take, and what comes after that, is queued, in order.
func TestDirect(t *testing.T) {
	room := 100
	w := &narrow{room: func() int { return room }}
	o := NewStream(w, Text, 10, nil)
	step := func(n alert, behind int, want string) {
		t.Helper()
		if !o.Send(n) {
			t.Errorf("alert %d refused", int(n))
		}
		if got := w.String(); got != want || behindOf(o) != behind {
			t.Errorf("after alert %d: %q, %d behind, want %q, %d", int(n), got, behindOf(o), want, behind)
		}
	}
	step(1, 0, "alert 1\n")
	room = 3
	step(2, 1, "alert 1\nale")
	room = 100
	step(3, 2, "alert 1\nale") // behind the rest of the second
	finish := run(t, o)
	finish()
	if got, want := w.String(), "alert 1\nalert 2\nalert 3\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if st := o.Stats(); st.Written != 3 || st.Dropped != 0 || behindOf(o) != 0 {
		t.Errorf("%+v, %d behind", st, behindOf(o))
	}
}

// TestDirectOrder: lines stay whole and in each sender's order, whatever the stream takes at once.
func TestDirectOrder(t *testing.T) {
	const senders, each = 4, 500
	w := &narrow{room: func() int { return rand.IntN(20) }}
	o := NewStream(w, Text, senders*each, nil)
	finish := run(t, o)
	var g sync.WaitGroup
	for s := range senders {
		g.Go(func() {
			for i := range each {
				if !o.Send(alert(s*each + i)) {
					t.Errorf("alert %d of sender %d refused", i, s)
				}
			}
		})
	}
	g.Wait()
	finish()
	var next [senders]int
	for line := range strings.Lines(w.String()) {
		var n int
		if _, err := fmt.Sscanf(line, "alert %d\n", &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if s := n / each; next[s] != n%each {
			t.Fatalf("alert %d of sender %d came, want %d", n%each, s, next[s])
		} else {
			next[s]++
		}
	}
	for s, n := range next {
		if n != each {
			t.Errorf("%d alerts of sender %d, want %d", n, s, each)
		}
	}
}

// needPipes skips a test where pipes do not tell whether they have room.
func needPipes(t *testing.T) {
	t.Helper()
	var u unix.Utsname
	_ = unix.Uname(&u)
	var major, minor int
	_, _ = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	if major*1000+minor < 6004 {
		t.Skip("pipes tell whether they have room since Linux 6.4")
	}
}

// TestTryWritePipe: a pipe takes what it has room for, and a full one nothing, at once and with its flags as they were.
func TestTryWritePipe(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w := os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	defer r.Close()
	defer w.Close()
	needPipes(t)
	if TryWrite(w, []byte("first\n")) == 0 {
		t.Fatal("an empty pipe took nothing")
	}
	block := bytes.Repeat([]byte("x"), 4096)
	for n := 0; TryWrite(w, block) > 0; n++ {
		if n > 1<<20/len(block) {
			t.Fatal("a pipe without end")
		}
	}
	buf := make([]byte, 6)
	if _, err := r.Read(buf); err != nil || string(buf) != "first\n" {
		t.Errorf("%q, %v", buf, err)
	}
	flags, err := unix.FcntlInt(uintptr(fds[1]), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
	if n := TryWrite(&bytes.Buffer{}, block); n != 0 {
		t.Errorf("%d bytes to a writer that cannot tell", n)
	}
}
