package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// A Config says how to reach NATS.
type Config struct {
	Server *Server `yaml:"-"` // embedded server of this process; reached without a socket. Excludes URL.

	URL   string `yaml:"url"`   // nats://host:port, tls://host:port, several separated by commas
	Creds string `yaml:"creds"` // credentials file: NATS .creds, an nkey seed, or the file an embedded server writes
	CA    string `yaml:"ca"`    // PEM file of the authorities that may have signed the server's certificate. Default the system's.
	Cert  string `yaml:"cert"`  // client certificate, PEM file
	Key   string `yaml:"key"`   // its key, PEM file

	Name    string        `yaml:"name"`    // of the connection, for the server's list. Default "tiercel".
	Timeout time.Duration `yaml:"timeout"` // of connecting. Positive. Default 5s.

	Limits Limits `yaml:"streams"` // sizes of streams and buckets
}

// DefaultConfig returns a Config that lacks only Server or URL.
func DefaultConfig() Config { return Config{Name: "tiercel", Timeout: 5 * time.Second} }

// Validate returns all that is wrong with c. It does no I/O.
func (c *Config) Validate() error {
	var errs []error
	switch {
	case c.Server == nil && c.URL == "":
		errs = append(errs, errors.New("url: missing"))
	case c.Server != nil && c.URL != "":
		errs = append(errs, errors.New("url: there is an embedded server already"))
	}
	if (c.Cert == "") != (c.Key == "") {
		errs = append(errs, errors.New("cert, key: one without the other"))
	}
	if c.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("timeout: %v is not positive", c.Timeout))
	}
	return errors.Join(append(errs, c.Limits.Validate())...)
}

// An Option sets a collaborator of Connect, StartServer or NewPublisher.
type Option func(*options)

type options struct {
	log      *slog.Logger
	registry prometheus.Registerer
	retry    bool
}

// WithLogger sets where logs go. Default: nowhere.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.log = l } }

// WithRegistry sets where metrics are registered. Default: nowhere.
func WithRegistry(r prometheus.Registerer) Option { return func(o *options) { o.registry = r } }

// WithRetry lets Connect return although no server answers: the connection is made as soon as one does. What else is wrong is an error all
// the same.
func WithRetry() Option { return func(o *options) { o.retry = true } }

func applyOptions(opts []Option) options {
	o := options{log: slog.New(slog.DiscardHandler)}
	for _, f := range opts {
		f(&o)
	}
	return o
}

// A Bus is a connection to NATS JetStream. It is safe for concurrent use and reconnects by itself for as long as it is open.
type Bus struct {
	cfg     Config
	nc      *nats.Conn
	js      jetstream.JetStream
	lanes   *lanes
	log     *slog.Logger
	opts    options
	metrics *metrics
	streams sync.Map // name → jetstream.Stream, so that reading one record is one request

	apiDenied  chan struct{} // closed when the server says that we may not use JetStream's API
	denyingAPI func()        // closes it, once
	refused    atomic.Bool   // the server refuses our credentials, which has been said
}

// Connect connects to the server that cfg names. It tries once: an error says what is wrong and, where it can, what to do. Close the Bus
// after its publishers have ended, and before the embedded server.
func Connect(ctx context.Context, cfg Config, opts ...Option) (*Bus, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	o := applyOptions(opts)
	b := &Bus{cfg: cfg, log: o.log, opts: o, metrics: newMetrics(o.registry), lanes: newLanes(), apiDenied: make(chan struct{})}
	b.denyingAPI = sync.OnceFunc(func() { close(b.apiDenied) })
	nc, err := b.dial(ctx,
		nats.RetryOnFailedConnect(o.retry),
		nats.ConnectHandler(func(*nats.Conn) { b.connected() }),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a server that begins, or whose accounts are being changed, may refuse us for a while
		nats.CustomReconnectDelay(reconnectDelay),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.metrics.connected.Set(0)
			if err != nil {
				b.log.LogAttrs(context.Background(), slog.LevelWarn, "connection to NATS lost", slog.Any("err", err))
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.connected()
			b.metrics.reconnects.Inc()
			b.lanes.reconnected()
			b.log.LogAttrs(context.Background(), slog.LevelInfo, "connection to NATS is back", slog.String("url", nc.ConnectedUrlRedacted()))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), "$JS.API.INFO") {
				b.denyingAPI() // who asked is told
				return
			}
			if refusesCredentials(err) && b.refused.Swap(true) {
				return // with every attempt
			}
			attrs := []slog.Attr{slog.Any("err", err)}
			if sub != nil {
				attrs = append(attrs, slog.String("subject", sub.Subject))
			}
			b.log.LogAttrs(context.Background(), slog.LevelWarn, "NATS reports a problem", attrs...)
		}))
	if err != nil {
		return nil, err
	}
	b.nc = nc
	if b.js, err = jetstream.New(nc); err != nil {
		nc.Close()
		return nil, fmt.Errorf("bus: %w", err)
	}
	if nc.IsConnected() {
		b.metrics.connected.Set(1)
	}
	return b, nil
}

// connected notes that there is a connection.
func (b *Bus) connected() {
	b.metrics.connected.Set(1)
	b.refused.Store(false)
}

// refusesCredentials reports whether err says that the server does not let us in.
func refusesCredentials(err error) bool {
	for _, e := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// reconnectDelay doubles from 50 ms to 2 s.
func reconnectDelay(attempt int) time.Duration {
	return backoff(attempt, 50*time.Millisecond, 2*time.Second)
}

func backoff(attempt int, first, most time.Duration) time.Duration {
	return min(most, first<<min(max(attempt-1, 0), 16))
}

// dial opens one connection.
func (b *Bus) dial(ctx context.Context, extra ...nats.Option) (*nats.Conn, error) {
	timeout := b.cfg.Timeout
	if t, ok := ctx.Deadline(); ok {
		timeout = min(timeout, max(time.Until(t), time.Millisecond))
	}
	name := b.cfg.Name
	opts := []nats.Option{nats.Name(name), nats.Timeout(timeout), nats.PingInterval(20 * time.Second), nats.MaxPingsOutstanding(2)}
	auth, err := b.cfg.authOptions()
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	opts = append(append(opts, auth...), extra...)
	url := b.cfg.URL
	if s := b.cfg.Server; s != nil {
		url = s.access.URL
		opts = append(opts, nats.InProcessServer(s.srv))
	}
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, &ConnectError{URL: redactURLs(url), Err: err}
	}
	return nc, nil
}

// redactURLs hides the passwords of the URLs in a comma-separated list.
func redactURLs(list string) string {
	urls := strings.Split(list, ",")
	for i, u := range urls {
		scheme, rest, ok := strings.Cut(u, "://")
		if !ok {
			scheme, rest = "", u
		} else {
			scheme += "://"
		}
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			rest = "***" + rest[at:]
		}
		urls[i] = scheme + rest
	}
	return strings.Join(urls, ",")
}

// authOptions are the options for credentials and TLS.
func (c *Config) authOptions() ([]nats.Option, error) {
	if c.Server != nil {
		return []nats.Option{nats.UserInfo(c.Server.access.User, c.Server.access.Password)}, nil
	}
	var opts []nats.Option
	if c.Creds != "" {
		o, err := credsOption(c.Creds)
		if err != nil {
			return nil, err
		}
		opts = append(opts, o)
	}
	if c.CA != "" {
		if _, err := os.Stat(c.CA); err != nil {
			return nil, fmt.Errorf("CA: %w", err)
		}
		opts = append(opts, nats.RootCAs(c.CA))
	}
	if c.Cert != "" {
		if _, err := tls.LoadX509KeyPair(c.Cert, c.Key); err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		opts = append(opts, nats.ClientCert(c.Cert, c.Key))
	}
	return opts, nil
}

// credsOption tells the three kinds of credentials files apart by what is in them.
func credsOption(path string) (nats.Option, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	switch s := strings.TrimSpace(string(text)); {
	case strings.Contains(s, "BEGIN NATS USER JWT"):
		return nats.UserCredentials(path), nil
	case strings.HasPrefix(s, "{"):
		if _, err := parseAccess(text); err != nil {
			return nil, fmt.Errorf("credentials %s: %w", path, err)
		}
		return nats.UserInfoHandler(func() (user, password string) { // a server that was started again has new ones
			text, _ := os.ReadFile(path)
			if a, err := parseAccess(text); err == nil {
				return a.User, a.Password
			}
			return "", ""
		}), nil
	default:
		o, err := nats.NkeyOptionFromSeed(path)
		if err != nil {
			return nil, fmt.Errorf("credentials %s: neither a .creds file nor an nkey seed: %w", path, err)
		}
		return o, nil
	}
}

// A ConnectError says that a server could not be reached or did not let us in.
type ConnectError struct {
	URL string // without passwords
	Err error
}

func (e *ConnectError) Error() string { return fmt.Sprintf("connect to NATS at %s: %v", e.URL, e.Err) }

// Unwrap returns what the client library said.
func (e *ConnectError) Unwrap() error { return e.Err }

// Hint says what to do about it; it may be empty.
func (e *ConnectError) Hint() string {
	switch {
	case errors.Is(e.Err, nats.ErrAuthorization), errors.Is(e.Err, nats.ErrAuthExpired):
		return "the server refuses these credentials; give those of a user it knows with --creds"
	case errors.Is(e.Err, nats.ErrSecureConnRequired), strings.Contains(e.Err.Error(), "unknown authority"):
		return "the server asks for TLS; name the authority of its certificate with --ca"
	case errors.Is(e.Err, nats.ErrNoServers), strings.Contains(e.Err.Error(), "refused"):
		return "nothing answers there; is the address right and the server running?"
	}
	return ""
}

// JetStream is the client's interface to streams, consumers and buckets.
func (b *Bus) JetStream() jetstream.JetStream { return b.js }

// Conn is the connection below.
func (b *Bus) Conn() *nats.Conn { return b.nc }

// stream returns the handle of a stream. Settings that it caches (direct gets) are those of when it was first used.
func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	if st, ok := b.streams.Load(name); ok {
		return st.(jetstream.Stream), nil
	}
	st, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	b.streams.Store(name, st)
	return st, nil
}

// Ready returns nil while the connection stands, otherwise why it does not.
func (b *Bus) Ready() error {
	if s := b.nc.Status(); s != nats.CONNECTED {
		return fmt.Errorf("connection to NATS is %s", strings.ToLower(s.String()))
	}
	return nil
}

// KeyValue returns a bucket that EnsureStreams has made, by one of the Bucket constants.
func (b *Bus) KeyValue(ctx context.Context, bucket string) (jetstream.KeyValue, error) {
	kv, err := b.js.KeyValue(ctx, bucket)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucket, err)
	}
	return kv, nil
}

// ObjectStore returns a store that EnsureStreams has made, by one of the Store constants.
func (b *Bus) ObjectStore(ctx context.Context, store string) (jetstream.ObjectStore, error) {
	os, err := b.js.ObjectStore(ctx, store)
	if err != nil {
		return nil, fmt.Errorf("open object store %s: %w", store, err)
	}
	return os, nil
}

// URL is the address of the server, without passwords.
func (b *Bus) URL() string {
	if b.cfg.Server != nil {
		return redactURLs(b.cfg.Server.access.URL)
	}
	return redactURLs(b.cfg.URL)
}

// Close ends the connection. Publishers have connections of their own. It may be called twice.
func (b *Bus) Close() {
	b.nc.Close()
	b.metrics.connected.Set(0)
}
