package output

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A text is an alert of that text.
type text string

func (a text) AppendText(dst []byte) []byte { return append(dst, a...) }
func (a text) AppendJSON(dst []byte) []byte { return append(dst, a...) }

// posts is an HTTP output to url whose failures are waited for by nobody: there is an hour between attempts.
func posts(url string) *Output {
	return NewHTTP(HTTPConfig{URL: url, Timeout: time.Minute, Backoff: time.Hour, Queue: 4096}, nil)
}

// connect has o post an alert by its sink, so that there is a connection.
func connect(t *testing.T, o *Output) {
	t.Helper()
	if err := o.sink.write(t.Context(), []byte("first\n")); err != nil {
		t.Fatal(err)
	}
}

// next returns what comes next.
func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// bodies is a server that passes on the bodies of requests.
func bodies(t *testing.T) (srv *httptest.Server, got chan string) {
	t.Helper()
	got = make(chan string, 4096)
	srv = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- string(b)
	}))
	t.Cleanup(srv.Close)
	return srv, got
}

// TestHTTPDirect: an alert with none before it leaves in Send, and once only; the next ones wait for its answer.
func TestHTTPDirect(t *testing.T) {
	srv, got := bodies(t)
	o := posts(srv.URL)
	connect(t, o)
	next(t, got)
	o.Send(text("second"))
	if b := next(t, got); b != "second" { // and nothing has run
		t.Errorf("got %q", b)
	}
	o.Send(text("third"))
	if n := behindOf(o); n != 2 {
		t.Errorf("%d behind, want 2", n)
	}
	run(t, o)()
	if b := next(t, got); b != "third" {
		t.Errorf("got %q", b)
	}
	if st := o.Stats(); st.Written != 2 || len(got) != 0 {
		t.Errorf("%+v, and %d more requests", st, len(got))
	}
}

// TestHTTPOrder: alerts come once and in their order, whether they leave at once or are queued.
func TestHTTPOrder(t *testing.T) {
	const n = 1000
	srv, got := bodies(t)
	o := posts(srv.URL)
	finish := run(t, o)
	for i := range n {
		o.Send(alert(i))
		if i%3 == 0 {
			for behindOf(o) > 0 {
				time.Sleep(10 * time.Microsecond)
			}
		}
	}
	finish()
	for i := range n {
		if b, want := next(t, got), fmt.Sprintf(`{"n":%d}`, i); b != want {
			t.Fatalf("got %s, want %s", b, want)
		}
	}
	if st := o.Stats(); st.Written != n || len(got) != 0 {
		t.Errorf("%+v, and %d more requests", st, len(got))
	}
}

// TestHTTPPart: what the connection has no room for is sent once it has.
func TestHTTPPart(t *testing.T) {
	begin := make(chan struct{})
	got := make(chan string, 2)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 1<<20 {
			<-begin
		}
		b, _ := io.ReadAll(r.Body)
		got <- string(b)
	}))
	defer srv.Close()
	o := posts(srv.URL)
	connect(t, o)
	next(t, got)
	long := strings.Repeat("0123456789abcdef", 2<<20)
	o.Send(text(long))
	k := o.sink.(*keptSink).kept
	if k.sent == 0 || k.sent >= len(k.request) {
		t.Errorf("%d bytes of %d left at once", k.sent, len(k.request))
	}
	finish := run(t, o)
	close(begin)
	if b := next(t, got); b != long {
		t.Errorf("%d bytes came, or others", len(b))
	}
	finish()
	if st := o.Stats(); st.Written != 1 {
		t.Errorf("%+v", st)
	}
}

// TestHTTPAnswers: what servers answer with, and what they do with the connection. Each script is what happens on one connection; a request is
// read before each answer.
func TestHTTPAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	tests := []struct {
		name        string
		connections [][]string
	}{
		{"kept", [][]string{{ok, ok, ok}}},
		{"closed between alerts", [][]string{{ok}, {ok}, {ok}}},
		{"closed on a request", [][]string{{ok, ""}, {ok, ""}, {ok}}},
		{"to be closed", [][]string{{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"}, {ok, ok}}},
		{"of HTTP/1.0", [][]string{{"HTTP/1.0 200 OK\r\n\r\nuntil the end"}, {ok, ok}}},
		{"in chunks", [][]string{{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", ok, ok}}},
		{"none yet", [][]string{{"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", ok, ok}}},
		{"unasked, and the end", [][]string{{ok + "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"}, {ok, ok}}},
		{"long", [][]string{{"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000)}, {ok, ok}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			taken, closed := make(chan string, 16), make(chan struct{}, 16)
			go func() {
				for _, answers := range tt.connections {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					playScript(conn, answers, taken)
					closed <- struct{}{}
				}
			}()
			o := posts("http://" + ln.Addr().String())
			finish := run(t, o)
			for i := range 3 {
				o.Send(alert(i))
				if b, want := next(t, taken), fmt.Sprintf(`{"n":%d}`, i); b != want {
					t.Errorf("got %s, want %s", b, want)
				}
				waitBehind(t, o)
			}
			finish()
			if st := o.Stats(); st.Written != 3 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// playScript reads a request before each answer, and passes on the bodies of those that it answers.
func playScript(conn net.Conn, answers []string, taken chan<- string) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for _, answer := range answers {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		b, err := io.ReadAll(r.Body)
		if err != nil || answer == "" {
			return
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
		taken <- string(b)
	}
}

// waitBehind waits until all that was sent is written.
func waitBehind(t *testing.T, o *Output) {
	t.Helper()
	for end := time.Now().Add(time.Minute); behindOf(o) > 0; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("%d alerts are still behind", behindOf(o))
		}
	}
}

// TestHTTPEndless: an answer without an end is not waited for.
func TestHTTPEndless(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	o := NewHTTP(HTTPConfig{URL: srv.URL, Timeout: time.Hour, Queue: 4}, nil)
	finish := run(t, o)
	o.Send(alert(1))
	waitBehind(t, o)
	o.Send(alert(2))
	finish()
	if st := o.Stats(); st.Written != 2 {
		t.Errorf("%+v", st)
	}
}

// TestHTTPElsewhere: redirections are followed, with the alert.
func TestHTTPElsewhere(t *testing.T) {
	srv, got := bodies(t)
	var asked atomic.Int32
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, srv.URL, http.StatusPermanentRedirect)
	}))
	defer first.Close()
	o := posts(first.URL)
	finish := run(t, o)
	for i := range 3 {
		o.Send(alert(i))
		if b, want := next(t, got), fmt.Sprintf(`{"n":%d}`, i); b != want {
			t.Errorf("got %s, want %s", b, want)
		}
	}
	finish()
	if st := o.Stats(); st.Written != 3 || asked.Load() != 4 {
		t.Errorf("%+v, %d requests to the first", st, asked.Load())
	}
}

// TestHTTPRequest: a request is what package net/http would send, and goes through it where a connection of its own will not do.
func TestHTTPRequest(t *testing.T) {
	seen := make(chan *http.Request, 2)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r }))
	defer srv.Close()
	url := strings.Replace(srv.URL, "http://", "http://user:secret@", 1) + "/a%20b?c=d"
	o := posts(url)
	connect(t, o)
	ours := next(t, seen)
	std := httpSink{cfg: HTTPConfig{URL: url, Client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}}
	defer std.cfg.Client.CloseIdleConnections()
	if _, err := std.post(t.Context(), []byte("first")); err != nil {
		t.Fatal(err)
	}
	theirs := next(t, seen)
	if got, want := fmt.Sprint(ours.Method, ours.RequestURI, ours.Host, ours.Header, ours.ContentLength),
		fmt.Sprint(theirs.Method, theirs.RequestURI, theirs.Host, theirs.Header, theirs.ContentLength); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if user, password, ok := ours.BasicAuth(); !ok || user != "user" || password != "secret" {
		t.Errorf("user %q, password %q", user, password)
	}
	for _, url := range []string{"https://127.0.0.1", "http://a b", "ftp://x"} {
		if newKept(url) != nil {
			t.Errorf("%s: a connection of its own", url)
		}
	}
}

// TestHTTPNoAnswer: a server that does not answer costs the alert, in the end, and not the next one.
func TestHTTPNoAnswer(t *testing.T) {
	var quiet atomic.Bool
	ended, cancel := context.WithCancel(t.Context())
	defer cancel()
	taken := make(chan string, 16)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if quiet.Load() {
			select {
			case <-r.Context().Done():
			case <-ended.Done():
			}
			return
		}
		taken <- string(b)
	}))
	defer srv.Close()
	defer cancel()
	failed := make(chan error, 16)
	o := NewHTTP(HTTPConfig{URL: srv.URL, Timeout: 100 * time.Millisecond, Attempts: 2, Backoff: time.Millisecond, Queue: 4}, func(err error) { failed <- err })
	finish := run(t, o)
	quiet.Store(true)
	o.Send(text("one"))
	if err := next(t, failed); !strings.Contains(err.Error(), "attempt 2: no answer") {
		t.Errorf("got %v", err)
	}
	quiet.Store(false)
	waitBehind(t, o)
	k := o.sink.(*keptSink)
	k.cfg.Timeout = time.Minute // nothing runs: the queue is empty
	o.Send(text("two"))
	if b := next(t, taken); b != "two" {
		t.Errorf("got %q", b)
	}
	finish()
	if st := o.Stats(); st.Written != 1 || st.Failed != 1 {
		t.Errorf("%+v", st)
	}
}
