package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tiercel-project/tiercel/bus/quantity"
)

// testLog writes logs to the test's log.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// startServer starts an embedded server in a directory of the test.
func startServer(t testing.TB, dir string, edit ...func(*ServerConfig)) *Server {
	t.Helper()
	cfg := DefaultServerConfig()
	cfg.DataDir = dir
	for _, f := range edit {
		f(&cfg)
	}
	s, err := StartServer(t.Context(), cfg, WithLogger(testLog(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// connect connects to s in process.
func connect(t testing.TB, s *Server, opts ...Option) *Bus {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Server = s
	b, err := Connect(t.Context(), cfg, append([]Option{WithLogger(testLog(t))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// newBus returns a connection to a new server with all streams.
func newBus(t testing.TB, opts ...Option) *Bus {
	t.Helper()
	b := connect(t, startServer(t, t.TempDir()), opts...)
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestServerAccess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := FindServer(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("before the start: got %v, want ErrNotRunning", err)
	}
	s := startServer(t, dir)
	a, err := FindServer(dir)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, "nats.json"))
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("nats.json has mode %v, want 0600", st.Mode())
	}
	if a.PID != os.Getpid() || !strings.HasPrefix(a.URL, "nats://127.0.0.1:") {
		t.Errorf("got %+v", a)
	}
	nc, err := nats.Connect(a.URL, nats.UserInfo(a.User, a.Password))
	if err != nil {
		t.Fatalf("with the file's credentials: %v", err)
	}
	nc.Close()
	for _, o := range [][]nats.Option{nil, {nats.UserInfo(a.User, "x")}, {nats.UserInfo("x", a.Password)}, {nats.Token(a.Password)}} {
		if nc, err := nats.Connect(a.URL, o...); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("without them: got %v, want %v", err, nats.ErrAuthorization)
			if nc != nil {
				nc.Close()
			}
		}
	}
	s.Close()
	if _, err := FindServer(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the end: got %v, want ErrNotRunning", err)
	}
}

func TestServerStaleAccess(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir)
	text, err := os.ReadFile(filepath.Join(dir, "nats.json"))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := os.WriteFile(filepath.Join(dir, "nats.json"), text, 0o600); err != nil { // as if it had been killed
		t.Fatal(err)
	}
	if _, err := FindServer(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v, want ErrNotRunning", err)
	}
	s = startServer(t, dir)
	a, err := FindServer(dir)
	if err != nil {
		t.Fatal(err)
	}
	if a.URL != s.URL() {
		t.Errorf("got %s, want the new server's %s", a.URL, s.URL())
	}
}

func TestServerLock(t *testing.T) {
	dir := t.TempDir()
	startServer(t, dir)
	cfg := DefaultServerConfig()
	cfg.DataDir = dir
	_, err := StartServer(t.Context(), cfg)
	if !errors.Is(err, ErrDataDirLocked) {
		t.Fatalf("got %v, want ErrDataDirLocked", err)
	}
	if want := fmt.Sprintf("(process %d)", os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want it to contain %q", err, want)
	}
}

func TestServerPortTaken(t *testing.T) {
	s := startServer(t, t.TempDir())
	cfg := DefaultServerConfig()
	cfg.DataDir = t.TempDir()
	if _, err := fmt.Sscanf(s.URL(), "nats://127.0.0.1:%d", &cfg.Port); err != nil {
		t.Fatal(err)
	}
	_, err := StartServer(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v, want it to say that the address is in use", err)
	}
	cfg.Port = 0
	s2, err := StartServer(t.Context(), cfg)
	if err != nil {
		t.Fatalf("the directory is not free after a start that went wrong: %v", err)
	}
	s2.Close()
}

func TestServerRestartKeepsEvents(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir)
	b := connect(t, s)
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.JetStream().Publish(t.Context(), "tiercel.events.syscall.notice.r._host.n", []byte("x")); err != nil {
		t.Fatal(err)
	}
	b.Close()
	s.Close()
	b = connect(t, startServer(t, dir))
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := b.JetStream().Stream(t.Context(), StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	if n := st.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("%d messages after the restart, want 1", n)
	}
}

func TestConfigValidate(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  interface{ Validate() error }
		want []string
	}{
		{"server", &ServerConfig{Port: 70000, Sync: -1, MaxStore: -1, MaxMemory: -1}, []string{"dataDir", "port", "sync", "maxStore", "maxMemory"}},
		{"nothing to connect to", &Config{}, []string{"url: missing", "timeout"}},
		{"half a certificate", &Config{URL: "x", Cert: "c", Timeout: 1}, []string{"cert, key"}},
		{
			"limits", &Limits{Replicas: 9, MaxBytes: map[string]quantity.Size{"EVENTS": 0, "EVENT": 1}, MaxAge: map[string]time.Duration{"ACTIONS": -1, "x": 1}},
			[]string{"replicas: 9", "maxBytes.EVENTS", `"EVENT" is none of`, "maxAge.ACTIONS", `maxAge: "x"`},
		},
		{"publisher", &PublisherConfig{}, []string{"maxMessages", "maxBytes", "maxInFlight", "maxInFlightBytes", "ackWait"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.cfg.Validate()
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want it to contain %q", err, want)
				}
			}
		})
	}
}

func TestConnectErrors(t *testing.T) {
	s := startServer(t, t.TempDir())
	bad := filepath.Join(t.TempDir(), "creds")
	if err := os.WriteFile(bad, []byte("what is this"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, want, hint string
		edit             func(*Config)
	}{
		{"nobody there", "no servers available", "server running", func(c *Config) { c.URL = "nats://user:secret@127.0.0.1:1" }},
		{"wrong user", "Authorization Violation", "--creds", func(c *Config) {}},
		{"no credentials file", "no such file", "", func(c *Config) { c.Creds = "/nowhere/x.creds" }},
		{"garbage credentials", "neither a .creds file nor an nkey seed", "", func(c *Config) { c.Creds = bad }},
		{"no CA", "CA: ", "", func(c *Config) { c.CA = "/nowhere/ca.pem" }},
		{"TLS where there is none", "", "", func(c *Config) { c.URL = strings.Replace(c.URL, "nats://", "tls://", 1) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.URL = s.URL()
			tc.edit(&cfg)
			_, err := Connect(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want it to contain %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows the password: %v", err)
			}
			if ce, ok := errors.AsType[*ConnectError](err); tc.hint != "" && (!ok || !strings.Contains(ce.Hint(), tc.hint)) {
				t.Errorf("hint of %v: want %q", err, tc.hint)
			}
		})
	}
}

func TestConnectByAccessFile(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir)
	cfg := DefaultConfig()
	cfg.URL, cfg.Creds = s.URL(), filepath.Join(dir, "nats.json")
	b, err := Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Ready(); err != nil {
		t.Error(err)
	}
	if _, err := b.JetStream().AccountInfo(t.Context()); err != nil {
		t.Error(err)
	}
	b.Close()
	if b.Ready() == nil {
		t.Error("ready after Close")
	}
}
