package output

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// An alert writes its number.
type alert int

func (a alert) AppendText(dst []byte) []byte { return fmt.Appendf(dst, "alert %d", int(a)) }
func (a alert) AppendJSON(dst []byte) []byte { return fmt.Appendf(dst, `{"n":%d}`, int(a)) }

// run runs o until the test ends and returns a function that closes it and waits for it.
func run(t *testing.T, o *Output) (finish func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		o.Wait(context.Background()) // what it has started is gone too
	})
	return func() {
		t.Helper()
		o.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestStream(t *testing.T) {
	for _, tt := range []struct {
		format Format
		want   string
	}{{Text, "alert 1\nalert 2\n"}, {JSON, "{\"n\":1}\n{\"n\":2}\n"}} {
		var b bytes.Buffer
		o := NewStream(&b, tt.format, 10, nil)
		finish := run(t, o)
		o.Send(alert(1))
		o.Send(alert(2))
		finish()
		if b.String() != tt.want {
			t.Errorf("%s: %q, want %q", tt.format, b.String(), tt.want)
		}
		if o.Send(alert(3)) {
			t.Error("an alert was taken after Close")
		}
		if diff := cmp.Diff(Stats{Name: "stdout", Written: 2, Dropped: 1}, o.Stats()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// A gate is a writer that lets a write through when it is told to.
type gate struct{ entered, open chan struct{} }

func (g gate) Write(p []byte) (int, error) {
	g.entered <- struct{}{}
	<-g.open
	return len(p), nil
}

// TestBound: Send never blocks; what does not fit is dropped and counted.
func TestBound(t *testing.T) {
	g := gate{make(chan struct{}), make(chan struct{})}
	o := NewStream(g, Text, 3, nil)
	finish := run(t, o)
	o.Send(alert(0))
	<-g.entered
	for i := 1; i <= 5; i++ {
		if got, want := o.Send(alert(i)), i <= 3; got != want {
			t.Errorf("alert %d taken: %v", i, got)
		}
	}
	close(g.open)
	go func() { <-g.entered }()
	finish()
	if st := o.Stats(); st.Written != 4 || st.Dropped != 2 {
		t.Errorf("%+v", st)
	}
}

// TestStuck: an output that is stuck does not keep Run from ending with its context; Wait says so.
func TestStuck(t *testing.T) {
	o := NewHTTP(HTTPConfig{URL: "http://127.0.0.1:1", Timeout: time.Hour, Queue: 3, Client: &http.Client{Transport: stuck{}}}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	o.Send(alert(1))
	o.Close()
	short, stop := context.WithTimeout(t.Context(), time.Millisecond)
	defer stop()
	if o.Wait(short) || o.Pending() != 1 {
		t.Errorf("all was written, or not one alert waits but %d", o.Pending())
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for range 100 { // whatever the scheduler looks at first
		if !o.Wait(short) {
			t.Fatal("Wait with a context that has ended says of an output that has too that it wrote not all")
		}
	}
}

type stuck struct{}

func (stuck) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestFailedWrite(t *testing.T) {
	var got error
	o := NewStream(failing{}, Text, 3, func(err error) { got = err })
	finish := run(t, o)
	o.Send(alert(1))
	finish()
	if st := o.Stats(); st.Failed != 1 || !errors.Is(got, io.ErrClosedPipe) {
		t.Errorf("%+v, told of %v", st, got)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestReopen: after a rotation alerts go to the new file, and none is lost.
func TestReopen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "alerts")
	f, err := NewFile(name, Text, 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	finish := run(t, f.Output)
	f.Send(alert(1))
	waitFor(t, name, "alert 1\n")
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	f.Send(alert(2))
	waitFor(t, name+".1", "alert 1\nalert 2\n")
	f.Reopen()
	f.Send(alert(3))
	waitFor(t, name, "alert 3\n")
	finish()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, err := NewFile(filepath.Join(name, "x"), Text, 1, nil); err == nil {
		t.Error("a file below a file was opened")
	}
}

// TestTornLine: an alert after one of which only the beginning was written stands on a line of its own.
func TestTornLine(t *testing.T) {
	name := filepath.Join(t.TempDir(), "fifo") // a file that is full once nobody reads
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := &fileSink{name: name}
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	long := append(bytes.Repeat([]byte("x"), 1<<20), '\n')
	for end := time.Now().Add(time.Minute); !s.torn; { // until the deadline did not pass before the first byte
		if err := s.f.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if err := s.write(t.Context(), long); err == nil || time.Now().After(end) {
			t.Fatalf("a megabyte fitted into a pipe, or nothing of it in a minute: %v", err)
		}
	}
	if err := s.f.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		in := bufio.NewReader(r)
		for range 3 {
			line, _ := in.ReadString('\n')
			read <- line
		}
	}()
	for _, line := range []string{"alert 1\n", "alert 2\n"} {
		if err := s.write(t.Context(), []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if torn := <-read; strings.Trim(torn, "x") != "\n" {
		t.Errorf("the torn line ends with %q", strings.Trim(torn, "x"))
	}
	if one, two := <-read, <-read; one != "alert 1\n" || two != "alert 2\n" {
		t.Errorf("after it stand %q and %q", one, two)
	}
}

// waitFor waits until a file has the content want.
func waitFor(t *testing.T, name, want string) {
	t.Helper()
	var got []byte
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if got, _ = os.ReadFile(name); string(got) == want {
			return
		}
	}
	t.Fatalf("%s has %q, want %q", name, got, want)
}

func TestHTTP(t *testing.T) {
	tests := []struct {
		name     string
		statuses []int
		requests int32
		want     Stats
	}{
		{"taken", []int{200}, 1, Stats{Written: 1}},
		{"taken with another 2xx", []int{204}, 1, Stats{Written: 1}},
		{"busy at first", []int{503, 429, 200}, 3, Stats{Written: 1}},
		{"down", []int{500, 502, 503, 200}, 3, Stats{Failed: 1}},
		{"refused", []int{400, 200}, 1, Stats{Failed: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var n atomic.Int32
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if string(body) != `{"n":7}` || r.Header.Get("Content-Type") != "application/json" || r.Method != http.MethodPost {
					t.Errorf("%s %q %v", r.Method, body, r.Header)
				}
				w.WriteHeader(tt.statuses[n.Add(1)-1])
			}))
			defer srv.Close()
			o := NewHTTP(HTTPConfig{URL: srv.URL, Timeout: time.Minute, Backoff: time.Millisecond, Queue: 4}, nil)
			finish := run(t, o)
			o.Send(alert(7))
			finish()
			tt.want.Name = "http"
			if diff := cmp.Diff(tt.want, o.Stats()); diff != "" || n.Load() != tt.requests {
				t.Errorf("%d requests (-want +got):\n%s", n.Load(), diff)
			}
		})
	}
}

// TestHTTPTimes: a request is given up after the timeout, and attempts are spaced out more and more.
func TestHTTPTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewHTTP(HTTPConfig{URL: "http://x.invalid", Timeout: 2 * time.Second, Backoff: time.Second, Queue: 4, Client: &http.Client{Transport: stuck{}}}, nil)
		done := make(chan error, 1)
		go func() { done <- o.Run(context.Background()) }()
		begin := time.Now()
		o.Send(alert(1))
		o.Close()
		<-done
		if got, want := time.Since(begin), 9*time.Second; got != want { // three requests, pauses of 1 and 2 s
			t.Errorf("it took %v, want %v", got, want)
		}
		if st := o.Stats(); st.Failed != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func BenchmarkSend(b *testing.B) {
	o := NewStream(io.Discard, JSON, 4096, nil)
	done := make(chan error, 1)
	go func() { done <- o.Run(context.Background()) }()
	b.ReportAllocs()
	var a Alert = alert(1)
	for b.Loop() {
		for !o.Send(a) {
			// the benchmark outruns the writer
		}
	}
	o.Close()
	<-done
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "alerts/s")
}
