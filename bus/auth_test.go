package bus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// An authority signs certificates for a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.issue(t, "ca", nil)
	return a
}

// issue writes <name>.pem and <name>.key; without a signer it is an authority's own.
func (a *authority) issue(t *testing.T, name string, signer *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: signer == nil,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, parentKey := tmpl, key
	if signer != nil {
		parent, parentKey = signer.cert, signer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.path(name+".pem"), "CERTIFICATE", der)
	writePEM(t, a.path(name+".key"), "PRIVATE KEY", keyDER)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTLS: a server that asks for client certificates; the publisher's own connection has them too.
func TestTLS(t *testing.T) {
	a := newAuthority(t)
	a.issue(t, "server", a)
	a.issue(t, "client", a)
	stranger := newAuthority(t)
	stranger.issue(t, "client", stranger)
	pair, err := tls.LoadX509KeyPair(a.path("server.pem"), a.path("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	o := startOutside(t, func(o *server.Options) {
		o.TLS, o.TLSVerify, o.TLSTimeout = true, true, 5
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
	})
	b := o.connect(t, func(c *Config) { c.CA, c.Cert, c.Key = a.path("ca.pem"), a.path("client.pem"), a.path("client.key") })
	if err := b.EnsureStreams(t.Context(), RoleSensor); err != nil {
		t.Fatal(err)
	}
	p := NewPublisher(b, DefaultPublisherConfig())
	run(t, p)
	if err := p.PublishSync(t.Context(), testSubject, numbered(1)); err != nil {
		t.Error(err)
	}
	for name, edit := range map[string]func(*Config){
		"no authority":   func(c *Config) { c.Cert, c.Key = a.path("client.pem"), a.path("client.key") },
		"no certificate": func(c *Config) { c.CA = a.path("ca.pem") },
		"another's": func(c *Config) {
			c.CA, c.Cert, c.Key = a.path("ca.pem"), stranger.path("client.pem"), stranger.path("client.key")
		},
		"key does not match": func(c *Config) { c.Cert, c.Key = a.path("client.pem"), a.path("server.key") },
	} {
		cfg := DefaultConfig()
		cfg.URL = b.cfg.URL
		edit(&cfg)
		c, err := Connect(t.Context(), cfg)
		if err == nil {
			c.Close()
			t.Errorf("%s: connected", name)
			continue
		}
		if ce, ok := errors.AsType[*ConnectError](err); name == "no authority" && (!ok || !strings.Contains(ce.Hint(), "--ca")) {
			t.Errorf("%s: %v has no hint of --ca", name, err)
		}
	}
}

// TestNKey: an nkey seed in a file.
func TestNKey(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(file, append(seed, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	o := startOutside(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	if err := o.connect(t, func(c *Config) { c.Creds = file }).EnsureStreams(t.Context(), RoleSensor); err != nil {
		t.Error(err)
	}
}

// A signatureCheck admits who signs the server's nonce with the key. (The token itself is for servers with operators.)
type signatureCheck struct{ key nkeys.KeyPair }

func (s *signatureCheck) Check(c server.ClientAuthentication) bool {
	sig, err := base64.RawURLEncoding.DecodeString(c.GetOpts().Sig)
	return err == nil && s.key.Verify(c.GetNonce(), sig) == nil
}

// TestCreds: a .creds file of a user's token and seed.
func TestCreds(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "user.creds")
	text := "-----BEGIN NATS USER JWT-----\nheader.claims.signature\n------END NATS USER JWT------\n\n" +
		"-----BEGIN USER NKEY SEED-----\n" + string(seed) + "\n------END USER NKEY SEED------\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o := startOutside(t, func(o *server.Options) {
		o.AlwaysEnableNonce = true
		o.CustomClientAuthentication = &signatureCheck{user}
	})
	if err := o.connect(t, func(c *Config) { c.Creds = file }).EnsureStreams(t.Context(), RoleSensor); err != nil {
		t.Error(err)
	}
	cfg := DefaultConfig()
	cfg.URL = o.srv.ClientURL()
	if _, err := Connect(t.Context(), cfg); err == nil {
		t.Error("connected without credentials")
	}
}

// TestRefusedForAWhile: a server that refuses the credentials, again and again, is asked until it takes them. The log says so once.
func TestRefusedForAWhile(t *testing.T) {
	var refused atomic.Int32
	o := startOutside(t, func(o *server.Options) { o.Username, o.Password = "sensor", "secret" })
	cfg := DefaultConfig()
	cfg.URL = "nats://sensor:secret@" + o.srv.Addr().String()
	log := &lines{}
	b, err := Connect(t.Context(), cfg, WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	o.stop()
	o.opts.Password, o.opts.CustomClientAuthentication = "", refusal{&refused}
	o.start(t)
	waitFor(t, "four refusals", func() bool { return refused.Load() >= 4 })
	o.stop()
	o.opts.Password, o.opts.CustomClientAuthentication = "secret", nil
	o.start(t)
	waitFor(t, "the connection", func() bool { return b.Ready() == nil })
	if n := strings.Count(log.String(), "NATS reports a problem"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log)
	}
}

// A refusal admits nobody and counts.
type refusal struct{ n *atomic.Int32 }

func (r refusal) Check(server.ClientAuthentication) bool {
	r.n.Add(1)
	return false
}

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func waitFor(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for " + what)
		}
	}
}
