package spool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/tiercel-project/tiercel/bus"
)

// childEnv makes this test's program play a part in a process of its own, which a test kills.
const childEnv = "TIERCEL_SPOOL_TEST_CHILD"

func TestMain(m *testing.M) {
	switch part, arg, _ := strings.Cut(os.Getenv(childEnv), " "); part {
	case "":
		os.Exit(m.Run())
	case "server":
		serve(arg)
	case "publisher":
		publishForEver(arg)
	}
}

// serve is a NATS server on "port dir".
func serve(arg string) {
	port, dir, _ := strings.Cut(arg, " ")
	n, _ := strconv.Atoi(port)
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: n, JetStream: true, StoreDir: dir, NoSigs: true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		os.Exit(1)
	}
	fmt.Println("ready")
	srv.WaitForShutdown()
}

// publishForEver publishes to "url dir" and prints the id of each message that was accepted.
func publishForEver(arg string) {
	url, dir, _ := strings.Cut(arg, " ")
	b, err := bus.Connect(context.Background(), busConfig(url), bus.WithRetry())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	cfg := DefaultConfig()
	cfg.Dir, cfg.Log, cfg.Registerer = dir, slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	p, err := New(b, cfg)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() { _ = p.Run(context.Background()) }()
	for i := 0; ; i++ {
		if err := p.PublishMessage(message(i)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(id(i))
		time.Sleep(100 * time.Microsecond)
	}
}

// A child is a process of this test's program.
type child struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

func startChild(t testing.TB, part string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childEnv+"="+part)
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	return c
}

// kill ends the process by SIGKILL.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func (c *child) line(t testing.TB) string {
	t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the child process ended: %v", err)
	}
	return strings.TrimSpace(line)
}

// A nats is a NATS server in a process of its own.
type nats struct {
	port int
	dir  string
	proc *child
}

func newNATS(t testing.TB) *nats {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return &nats{port: ln.Addr().(*net.TCPAddr).Port, dir: t.TempDir()}
}

func (n *nats) start(t testing.TB) {
	t.Helper()
	n.proc = startChild(t, fmt.Sprintf("server %d %s", n.port, n.dir))
	if got := n.proc.line(t); got != "ready" {
		t.Fatal(got)
	}
}

func (n *nats) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.port) }

func busConfig(url string) bus.Config {
	c := bus.DefaultConfig()
	c.URL = url
	return c
}

func connect(t testing.TB, n *nats, opts ...bus.Option) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(t.Context(), busConfig(n.url()), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func ensure(t testing.TB, b *bus.Bus) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := b.EnsureStreams(t.Context(), bus.RoleSensor)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func id(i int) string { return fmt.Sprintf("n-%06d", i) }

func message(i int) *bus.Message {
	return bus.StructuredMessage(bus.EventSubject("syscall", "Warning", "rule", "ns", "n"), id(i), []byte(fmt.Sprintf(`{"n":%d}`, i)))
}

// A rig is a Publisher that runs.
type rig struct {
	*Publisher
	reg  *prometheus.Registry
	stop func()
}

func runPublisher(t testing.TB, b *bus.Bus, dir string, change func(*Config)) *rig {
	t.Helper()
	r := &rig{reg: prometheus.NewRegistry()}
	cfg := DefaultConfig()
	cfg.Dir, cfg.Log, cfg.Registerer = dir, slog.New(slog.DiscardHandler), r.reg
	cfg.Bus.DrainWait = 200 * time.Millisecond
	if change != nil {
		change(&cfg)
	}
	p, err := New(b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Publisher = p
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// stored returns the ids in EVENTS, in their order.
func stored(t testing.TB, b *bus.Bus) []string {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), bus.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, 0, info.State.Msgs)
	for seq := max(info.State.FirstSeq, 1); seq <= info.State.LastSeq; seq++ { // an empty stream begins with 0
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Header["content-type"]) == 0 {
			t.Errorf("message %d has no content type", seq)
		}
		ids = append(ids, m.Header.Get(jetstream.MsgIDHeader))
	}
	return ids
}

func idsUpTo(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = id(i)
	}
	return ids
}

func drain(t testing.TB, p *Publisher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := p.Drain(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestServerKilled: a server that is killed in the middle, and started again, ends up with every message once, in order.
func TestServerKilled(t *testing.T) {
	n := newNATS(t)
	n.start(t)
	b := connect(t, n)
	ensure(t, b)
	p := runPublisher(t, b, t.TempDir(), func(c *Config) { c.Bus.MaxMessages = 200 }) // most wait on disk
	const total = 3000
	for i := range total {
		if err := p.PublishMessage(message(i)); err != nil {
			t.Fatal(err)
		}
		switch i {
		case 700:
			n.proc.kill()
		case 2500:
			for deadline := time.Now().Add(time.Minute); p.Ready() == nil; time.Sleep(time.Millisecond) { // the client hears of it in its own time
				if time.Now().After(deadline) {
					t.Fatal("ready without a server")
				}
			}
			n.start(t)
		}
	}
	drain(t, p.Publisher)
	if diff := cmp.Diff(idsUpTo(total), stored(t, b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := testutil.ToFloat64(p.metrics.messages); got != 0 {
		t.Errorf("%v messages in the spool, want none", got)
	}
}

// TestProcessKilled: what a process that was killed had accepted, while the bus was away and while it was there, the next one publishes, once
// and in order.
func TestProcessKilled(t *testing.T) {
	n := newNATS(t)
	dir := t.TempDir()
	accepted := 0
	first := startChild(t, "publisher "+n.url()+" "+dir)
	for accepted < 500 {
		if got := first.line(t); got != id(accepted) {
			t.Fatal(got)
		}
		accepted++
	}
	first.kill()
	for { // it may have accepted more than was read so far
		line, err := first.out.ReadString('\n')
		if err != nil {
			break
		}
		if strings.TrimSpace(line) == id(accepted) {
			accepted++
		}
	}
	n.start(t)
	b := connect(t, n)
	ensure(t, b)
	p := runPublisher(t, b, dir, nil)
	drain(t, p.Publisher)
	got := stored(t, b)
	if len(got) < accepted || len(got) > accepted+1 { // one may have been written and not printed
		t.Errorf("%d stored, %d accepted", len(got), accepted)
	}
	if diff := cmp.Diff(idsUpTo(len(got)), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := testutil.ToFloat64(p.metrics.recovered); got < float64(accepted) {
		t.Errorf("%v recovered, want %d", got, accepted)
	}
}

// TestKilledWhilePublishing: killed while the bus takes messages, the ids remove what is sent twice.
func TestKilledWhilePublishing(t *testing.T) {
	n := newNATS(t)
	n.start(t)
	b := connect(t, n)
	ensure(t, b)
	dir := t.TempDir()
	first := startChild(t, "publisher "+n.url()+" "+dir)
	accepted := 0
	for ; accepted < 1000; accepted++ {
		first.line(t)
	}
	first.kill()
	p := runPublisher(t, b, dir, nil)
	drain(t, p.Publisher)
	got := stored(t, b)
	if len(got) < accepted {
		t.Errorf("%d stored, %d accepted", len(got), accepted)
	}
	if diff := cmp.Diff(idsUpTo(len(got)), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestKept: a process that ends while the bus is away keeps its messages for the next one, and says so.
func TestKept(t *testing.T) {
	n := newNATS(t)
	dir := t.TempDir()
	b := connect(t, n, bus.WithRetry())
	var lost []string
	p := runPublisher(t, b, dir, func(c *Config) {
		c.Bus.OnError = func(m *bus.Message, _ error) { lost = append(lost, m.ID) }
	})
	for i := range 10 {
		if err := p.PublishMessage(message(i)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Drain(ctx); !errors.Is(err, ErrKept) || !strings.Contains(err.Error(), "10") {
		t.Errorf("drained: %v", err)
	}
	start := time.Now()
	p.stop()
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("it took %v to end", d)
	}
	if len(lost) > 0 {
		t.Errorf("told to be lost: %v", lost)
	}
	if err := p.PublishMessage(message(10)); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("published after the end: %v", err)
	}
	n.start(t)
	b = connect(t, n)
	ensure(t, b)
	p = runPublisher(t, b, dir, nil)
	drain(t, p.Publisher)
	if diff := cmp.Diff(idsUpTo(10), stored(t, b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFullAtTheEnd: what the full spool dropped while it was on its way to the bus is counted and told when the process ends before the bus is
// back, and nothing else is lost.
func TestFullAtTheEnd(t *testing.T) {
	n := newNATS(t)
	dir := t.TempDir()
	b := connect(t, n, bus.WithRetry())
	var mu sync.Mutex
	told := 0
	p := runPublisher(t, b, dir, func(c *Config) {
		c.MaxBytes = minBytes
		c.Bus.OnError = func(*bus.Message, error) {
			mu.Lock()
			defer mu.Unlock()
			told++
		}
	})
	const all = 3000
	data := []byte(fmt.Sprintf("{%q:%q}", "text", strings.Repeat("x", 1000)))
	for i := range all {
		if err := p.PublishMessage(bus.StructuredMessage(bus.EventSubject("syscall", "Warning", "rule", "ns", "n"), id(i), data)); err != nil {
			t.Fatal(err)
		}
	}
	alone := int(testutil.ToFloat64(p.metrics.alone))
	if alone == 0 {
		t.Fatal("none is in memory alone")
	}
	before := int(testutil.ToFloat64(p.metrics.lost.WithLabelValues(lostFull)))
	kept := p.Pending()
	if before+alone+kept != all {
		t.Errorf("%d lost, %d in memory alone, %d on disk, of %d", before, alone, kept, all)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Drain(ctx); !errors.Is(err, ErrKept) || !strings.Contains(err.Error(), fmt.Sprintf("%d older ones", alone)) {
		t.Errorf("drained: %v", err)
	}
	p.stop()
	if got := int(testutil.ToFloat64(p.metrics.lost.WithLabelValues(lostFull))); got != before+alone {
		t.Errorf("%d counted as lost, not %d", got, before+alone)
	}
	mu.Lock()
	if told != alone {
		t.Errorf("%d were told to be lost, not %d", told, alone)
	}
	mu.Unlock()
	n.start(t)
	b = connect(t, n)
	ensure(t, b)
	p = runPublisher(t, b, dir, nil)
	drain(t, p.Publisher)
	if diff := cmp.Diff(idsUpTo(all)[all-kept:], stored(t, b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestDiskFails: a disk that takes nothing more does not keep messages from the bus.
func TestDiskFails(t *testing.T) {
	n := newNATS(t)
	n.start(t)
	b := connect(t, n)
	ensure(t, b)
	p := runPublisher(t, b, t.TempDir(), nil)
	p.mu.Lock()
	_ = p.disk.out.Close()
	p.mu.Unlock()
	for i := range 20 {
		if err := p.PublishMessage(message(i)); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(time.Minute)
	for len(stored(t, b)) < 20 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if diff := cmp.Diff(idsUpTo(20), stored(t, b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := testutil.ToFloat64(p.metrics.errors); got < 20 {
		t.Errorf("%v errors counted, want 20", got)
	}
}

// TestRefused: what the server will never take leaves the spool and is told.
func TestRefused(t *testing.T) {
	n := newNATS(t)
	n.start(t)
	b := connect(t, n)
	ensure(t, b)
	lost := make(chan string, 1)
	p := runPublisher(t, b, t.TempDir(), func(c *Config) {
		c.Bus.OnError = func(m *bus.Message, _ error) { lost <- m.ID + " " + fmt.Sprint(m.Tag) }
	})
	bad := message(0)
	bad.Subject, bad.Tag = "no good subject", "mine"
	if err := p.PublishMessage(bad); err != nil {
		t.Fatal(err)
	}
	if got := <-lost; got != id(0)+" mine" {
		t.Errorf("told of %q", got)
	}
	drain(t, p.Publisher)
}

func TestConfig(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxBytes, cfg.Sync = 5, -1
	err := cfg.Validate()
	for _, want := range []string{"dir: is empty", "maxBytes: 5", "sync: -1ns"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	newMetrics(reg)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, pr := range problems {
		t.Errorf("%s: %s", pr.Metric, pr.Text)
	}
}

// TestPermissions: nobody else reads what waits.
func TestPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	d := open(t, dir, minBytes)
	d.put(t, 0, 1)
	for _, path := range []string{dir, d.segments[0].path} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
}
