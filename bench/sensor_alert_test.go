//go:build bench

package bench

import (
	"bytes"
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
// 40 ms, now and then 300 ms, in which the reader of the rings goes to sleep. Its baseline is the same text through a pipe by way of cat, and
// posted to the same server by the benchmark itself. -benchtime 1000x
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
	line := append(bytes.Repeat([]byte("x"), 200), '\n')
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pairs(b, func() time.Duration {
		begin := time.Now()
		if _, err := in.Write(line); err != nil {
			b.Fatal(err)
		}
		readUntil(b, pipe[0], []byte("xxx"))
		return time.Since(begin)
	}, func() time.Duration {
		begin := time.Now()
		openOnce(b, marker)
		readUntil(b, w.out, []byte(marker))
		return time.Since(begin)
	})
}

func benchmarkHTTP(b *testing.B) {
	got := make(chan time.Time, 1024)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var marker string
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err == nil && bytes.Contains(text, []byte(marker)) {
			got <- time.Now()
		}
	})}
	go func() { _ = srv.Serve(ln) }()
	defer srv.Close()
	w := startWatch(b, "--http-output", "http://"+ln.Addr().String()+"/alerts")
	marker = w.markers(1) + "0"
	<-w.started()
	client := &http.Client{}
	text := append(bytes.Repeat([]byte("x"), 800), marker...)
	pairs(b, func() time.Duration {
		begin := time.Now()
		resp, err := client.Post("http://"+ln.Addr().String()+"/baseline", "application/json", bytes.NewReader(text))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return (<-got).Sub(begin)
	}, func() time.Duration {
		begin := time.Now()
		openOnce(b, marker)
		return (<-got).Sub(begin)
	})
}

// started reads standard output away, where nobody looks at it.
func (w *watch) started() <-chan struct{} {
	w.drainLines(func(string, time.Time) {})
	done := make(chan struct{})
	close(done)
	return done
}

// pairs measures the baseline and the alert in turns.
func pairs(b *testing.B, baseline, alert func() time.Duration) {
	b.Helper()
	for range 20 { // connections, caches
		baseline()
		alert()
	}
	var without, with []time.Duration
	for i := 0; b.Loop(); i++ {
		pause(i)
		without = append(without, baseline())
		pause(i)
		with = append(with, alert())
	}
	reportPercentiles(b, "baseline-", without)
	reportPercentiles(b, "", with)
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
