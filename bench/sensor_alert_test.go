//go:build bench

package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkAlert opens a watched file once an iteration, on a machine that is quiet, and gives the time from just before the call until the
// alert is read: from the pipe that is the sensor's standard output, and by an HTTP server on loopback. The pauses between the calls are 5 to
// 40 ms, now and then 300 ms, in which the reader of the rings goes to sleep. Baselines are the same text through a pipe by way of cat, and
// what another process takes that a byte in a pipe wakes: to post as much to the same server by net/http, and to write the request, made before, to
// a connection. -benchtime 1000x
func BenchmarkAlert(b *testing.B) {
	needRoot(b)
	_, name := ruleFiles(b)
	b.Run("stdout/rules="+name, benchmarkStdout)
	b.Run("http/rules="+name, benchmarkHTTP)
}

func benchmarkStdout(b *testing.B) {
	w := startWatch(b)
	marker := w.markers(1) + "0"
	cat := exec.Command("cat")
	in, err := cat.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		b.Fatal(err)
	}
	echo := os.NewFile(uintptr(pipe[1]), "echo")
	cat.Stdout = echo
	if err := cat.Start(); err != nil {
		b.Fatal(err)
	}
	_ = echo.Close()
	defer func() { _ = in.Close(); _ = cat.Wait(); _ = unix.Close(pipe[0]) }()
	line := append(bytes.Repeat([]byte("x"), 320), '\n')
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	inTurns(b, series{"baseline-", func() time.Duration {
		begin := time.Now()
		if _, err := in.Write(line); err != nil {
			b.Fatal(err)
		}
		readUntil(b, pipe[0], []byte("xxx"))
		return time.Since(begin)
	}}, series{"", func() time.Duration {
		begin := time.Now()
		openOnce(b, marker)
		readUntil(b, w.out, []byte(marker))
		return time.Since(begin)
	}})
}

func benchmarkHTTP(b *testing.B) {
	posts, alerts := make(chan time.Time, 1024), make(chan time.Time, 1024) // of the baselines, of the sensor
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var marker string
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		switch {
		case err != nil:
		case r.URL.Path == baselinePath:
			posts <- time.Now()
		case bytes.Contains(text, []byte(marker)):
			alerts <- time.Now()
		}
	})}
	go func() { _ = srv.Serve(ln) }()
	defer srv.Close()
	w := startWatch(b, "--http-output", "http://"+ln.Addr().String()+"/alerts")
	marker = w.markers(1) + "0"
	<-w.started()
	post := child(b, "post", ln.Addr().String()) // without the marker, or what rules tell of this process would have it
	in, err := post.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := post.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		if err := post.Wait(); err != nil {
			b.Error(err)
		}
	}()
	byChild := func(how byte) func() time.Duration {
		return func() time.Duration {
			begin := time.Now()
			if _, err := in.Write([]byte{how}); err != nil {
				b.Fatal(err)
			}
			return (<-posts).Sub(begin)
		}
	}
	inTurns(b, series{"post-", byChild(postByClient)}, series{"write-", byChild(postByWrite)}, series{"", func() time.Duration {
		begin := time.Now()
		openOnce(b, marker)
		return (<-alerts).Sub(begin)
	}})
}

func init() { children["post"] = postChild }

// How postChild posts.
const (
	postByClient = 'c' // by a client of package net/http
	postByWrite  = 'w' // in one write of what was made before
)

const baselinePath = "/baseline"

// postChild posts as much as an alert to the server at args[0], once for each byte that it reads, which says how.
func postChild(args []string) error {
	text := bytes.Repeat([]byte("x"), 760)
	to := "http://" + args[0] + baselinePath
	req, err := http.NewRequest(http.MethodPost, to, bytes.NewReader(text))
	if err != nil {
		return err
	}
	var request bytes.Buffer
	if err := req.Write(&request); err != nil {
		return err
	}
	conn, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	client, answers := &http.Client{}, bufio.NewReader(conn)
	send := map[byte]func() (*http.Response, error){
		postByClient: func() (*http.Response, error) { return client.Post(to, "application/json", bytes.NewReader(text)) },
		postByWrite: func() (*http.Response, error) {
			if _, err := conn.Write(request.Bytes()); err != nil {
				return nil, err
			}
			return http.ReadResponse(answers, nil)
		},
	}
	for how := make([]byte, 1); ; {
		if _, err := os.Stdin.Read(how); err != nil {
			return nil // the benchmark is over
		}
		if send[how[0]] == nil {
			return fmt.Errorf("no way %q to post", how)
		}
		resp, err := send[how[0]]()
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

// started reads standard output away, where nobody looks at it.
func (w *watch) started() <-chan struct{} {
	w.drainLines(func(string, time.Time) {})
	done := make(chan struct{})
	close(done)
	return done
}

// A series is something to be measured, and what stands before the names of its figures.
type series struct {
	name string
	once func() time.Duration
}

// inTurns measures each of all in turn.
func inTurns(b *testing.B, all ...series) {
	b.Helper()
	for range 20 { // connections, caches
		for _, s := range all {
			s.once()
		}
	}
	took := make([][]time.Duration, len(all))
	for i := 0; b.Loop(); i++ {
		for j, s := range all {
			pause(i)
			took[j] = append(took[j], s.once())
		}
	}
	for j, s := range all {
		reportPercentiles(b, s.name, took[j])
	}
	b.ReportMetric(0, "ns/op")
}

func pause(i int) {
	d := 5*time.Millisecond + rand.N(35*time.Millisecond)
	if i%20 == 19 {
		d = 300 * time.Millisecond
	}
	time.Sleep(d)
}

func openOnce(b *testing.B, name string) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	_ = unix.Close(fd)
}

// readUntil reads whole lines from fd until one contains text.
func readUntil(b *testing.B, fd int, text []byte) {
	var buf []byte
	chunk := make([]byte, 64<<10)
	for {
		n, err := retryRead(fd, chunk)
		if err != nil || n == 0 {
			b.Fatalf("standard output ended: %v", err)
		}
		if buf = append(buf, chunk[:n]...); bytes.Contains(buf, text) && buf[len(buf)-1] == '\n' {
			return
		}
	}
}
