package bus

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

// A ServerConfig configures the embedded server.
type ServerConfig struct {
	DataDir    string        `yaml:"dataDir"`    // made if it is not there. One process at a time.
	Port       int           `yaml:"port"`       // of the loopback listener. 0 to 65535. Default 0: a free one.
	Sync       time.Duration `yaml:"sync"`       // how often files are synced; what a power loss may cost. Positive. Default 1s.
	SyncAlways bool          `yaml:"syncAlways"` // sync before each acknowledgement: some 1,000 messages/s. Default false.
	MaxStore   int64         `yaml:"maxStore"`   // bytes on disk for all streams. Default what their limits add up to.
	MaxMemory  int64         `yaml:"maxMemory"`  // bytes of memory for streams kept in memory. Default 64Mi.
	Limits     Limits        `yaml:"-"`          // for the default of MaxStore; give Connect the same
}

// DefaultServerConfig returns a ServerConfig that lacks only DataDir.
func DefaultServerConfig() ServerConfig {
	return ServerConfig{Sync: time.Second, MaxMemory: 64 * mib}
}

// Validate returns all that is wrong with c. It does no I/O.
func (c *ServerConfig) Validate() error {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New("dataDir: missing"))
	}
	if c.Port < 0 || c.Port > 65535 {
		errs = append(errs, fmt.Errorf("port: %d is not in 0 to 65535", c.Port))
	}
	if c.Sync <= 0 {
		errs = append(errs, fmt.Errorf("sync: %v is not positive", c.Sync))
	}
	if c.MaxStore < 0 {
		errs = append(errs, fmt.Errorf("maxStore: %d is negative", c.MaxStore))
	}
	if c.MaxMemory < 0 {
		errs = append(errs, fmt.Errorf("maxMemory: %d is negative", c.MaxMemory))
	}
	return errors.Join(append(errs, c.Limits.Validate())...)
}

// A Server is a NATS server in this process, with JetStream in files below the data directory, an in-process connection for this
// process, and a loopback listener for others that can read <data>/nats.json.
type Server struct {
	srv    *server.Server
	access Access
	dir    string
	store  int64
	lock   *os.File
	log    *slog.Logger
	close  sync.Once
}

// StartServer starts the embedded server and returns when it is ready. It returns ErrDataDirLocked if another process uses the data
// directory. Close it after the connections to it.
func StartServer(ctx context.Context, cfg ServerConfig, opts ...Option) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	o := applyOptions(opts)
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	lock, err := lockDataDir(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	s := &Server{dir: cfg.DataDir, lock: lock, log: o.log, store: cfg.MaxStore}
	if s.store == 0 {
		s.store = cfg.Limits.TotalBytes()
	}
	s.access = Access{User: "tiercel", Password: rand.Text() + rand.Text(), PID: os.Getpid()}
	if err := s.start(ctx, cfg); err != nil {
		s.Close()
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	if o.registry != nil {
		register(o.registry, newServerMetrics(s.srv))
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, cfg ServerConfig) error {
	warnLittleSpace(ctx, s.log, s.dir, s.store)
	port := cfg.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	srv, err := server.NewServer(&server.Options{
		ServerName:                 "tiercel",
		Host:                       "127.0.0.1",
		Port:                       port,
		NoSigs:                     true,
		NoSystemAccount:            true,
		DisableJetStreamBanner:     true,
		JetStream:                  true,
		StoreDir:                   filepath.Join(s.dir, storeDir),
		JetStreamMaxStore:          s.store,
		JetStreamMaxMemory:         cfg.MaxMemory,
		SyncInterval:               cfg.Sync,
		SyncAlways:                 cfg.SyncAlways,
		MaxConn:                    1024,
		MaxPending:                 32 * mib,
		WriteDeadline:              10 * time.Second,
		CustomClientAuthentication: newPasswordCheck(s.access.User, s.access.Password),
	})
	if err != nil {
		return err
	}
	s.srv = srv
	quiet := &serverLog{log: s.log}
	srv.SetLoggerV2(quiet, s.log.Enabled(ctx, slog.LevelDebug), false, false)
	srv.Start()
	wait := 10 * time.Second
	if t, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(t))
	}
	for begin := time.Now(); !srv.ReadyForConnections(50 * time.Millisecond); {
		if err := quiet.fatal(); err != "" {
			return errors.New(err)
		}
		if time.Since(begin) > wait || ctx.Err() != nil {
			return fmt.Errorf("not ready after %v", time.Since(begin).Round(time.Millisecond))
		}
	}
	s.access.URL = strings.Replace(srv.ClientURL(), "0.0.0.0", "127.0.0.1", 1)
	return s.access.write(s.dir)
}

// URL is where the loopback listener is.
func (s *Server) URL() string { return s.access.URL }

// MaxStore is the room on disk that the server's streams may take together, in bytes.
func (s *Server) MaxStore() int64 { return s.store }

// Close writes out what is in hand, ends the server and frees the data directory. It may be called twice.
func (s *Server) Close() {
	s.close.Do(func() {
		if s.srv != nil {
			s.srv.Shutdown()
			s.srv.WaitForShutdown()
		}
		if err := os.Remove(filepath.Join(s.dir, AccessFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.LogAttrs(context.Background(), slog.LevelWarn, "remove the server's access file", slog.Any("err", err))
		}
		s.lock.Close()
	})
}

// warnLittleSpace warns if the disk cannot hold what the streams may take.
func warnLittleSpace(ctx context.Context, log *slog.Logger, dir string, store int64) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return
	}
	if free := int64(st.Bavail) * st.Bsize; free < store {
		log.LogAttrs(ctx, slog.LevelWarn, "the disk has less room than the streams may take; lower their maxBytes",
			slog.String("dir", dir), slog.Int64("free", free), slog.Int64("max_store", store))
	}
}

// A passwordCheck admits one user. It compares digests in constant time; the server would keep the password itself.
type passwordCheck struct{ user, password [sha256.Size]byte }

func newPasswordCheck(user, password string) *passwordCheck {
	return &passwordCheck{sha256.Sum256([]byte(user)), sha256.Sum256([]byte(password))}
}

// Check implements server.Authentication.
func (p *passwordCheck) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	user, password := sha256.Sum256([]byte(o.Username)), sha256.Sum256([]byte(o.Password))
	return subtle.ConstantTimeCompare(user[:], p.user[:])&subtle.ConstantTimeCompare(password[:], p.password[:]) == 1
}

// A serverLog hands the server's log to slog. Its notices are details to us.
type serverLog struct {
	log *slog.Logger
	mu  sync.Mutex
	end string // guarded by mu: the first fatal error
}

func (l *serverLog) write(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.LogAttrs(context.Background(), level, "NATS server", slog.String("text", fmt.Sprintf(format, v...)))
	}
}

// Noticef implements server.Logger.
func (l *serverLog) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, v ...any) { l.write(slog.LevelWarn, format, v) }

// Errorf implements server.Logger.
func (l *serverLog) Errorf(format string, v ...any) { l.write(slog.LevelError, format, v) }

// Debugf implements server.Logger.
func (l *serverLog) Debugf(format string, v ...any) { l.write(slog.LevelDebug, format, v) }

// Tracef implements server.Logger.
func (l *serverLog) Tracef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }

// Fatalf implements server.Logger. The server goes on to end itself; StartServer returns the first text.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.write(slog.LevelError, format, v)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end == "" {
		l.end = fmt.Sprintf(format, v...)
	}
}

func (l *serverLog) fatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}
