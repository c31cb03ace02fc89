// Package plane runs a real Kubernetes API, etcd and kube-apiserver, inside the calling process, for tests. RBAC is on, ServiceAccount
// tokens are issued and audit can be switched on by flag; there are no controllers, so nothing collects garbage, namespaces never finish
// deleting, and a ServiceAccount exists only where a test made it. Read Config first, then Start.
package plane

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/compatibility"
	logsapi "k8s.io/component-base/logs/api/v1"
	apiserverapp "k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

func init() {
	// A second Start in one process keeps the logging of the first.
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged
}

// Config says what to run. The zero value is usable but for Dir.
type Config struct {
	Dir       string   // etcd's data, keys, certificates and kubeconfigs; made with mode 0700, and used again if it is there
	Host      string   // address to listen on. Default 127.0.0.1
	Port      int      // 0: a free one
	APIServer []string // further flags of kube-apiserver
	Fsync     bool     // etcd syncs its log to disk; tests need not
}

// A Plane is a running control plane.
type Plane struct {
	URL        string
	CAFile     string
	Kubeconfig string     // of a cluster administrator
	Errs       chan error // receives one error when the API server ends

	cfg   Config
	ca    *x509.Certificate
	caKey crypto.Signer
	etcd  *embed.Etcd
}

// Start starts the plane and returns once /readyz says ok. The API server stops when ctx ends, etcd with Close.
func Start(ctx context.Context, cfg Config) (*Plane, error) {
	if cfg.Host == "" {
		cfg.Host = "127.0.0.1"
	}
	p := &Plane{cfg: cfg, Errs: make(chan error, 1)}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := p.keys(); err != nil {
		return nil, err
	}
	if err := p.startEtcd(); err != nil {
		return nil, err
	}
	if err := p.startAPIServer(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close stops etcd.
func (p *Plane) Close() { p.etcd.Close() }

func (p *Plane) path(name string) string { return filepath.Join(p.cfg.Dir, name) }

func (p *Plane) startEtcd() error {
	cfg := embed.NewConfig()
	cfg.Dir = p.path("etcd")
	cfg.Logger, cfg.LogLevel = "zap", "error"
	client := url.URL{Scheme: "unix", Path: p.path("etcd.sock")}
	peer := url.URL{Scheme: "unix", Path: p.path("etcd-peer.sock")}
	for _, u := range []url.URL{client, peer} {
		if err := os.Remove(u.Path); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	me := url.URL{Scheme: "http", Host: "localhost:2380"} // a name only: the one member is reached by its socket
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{me}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{me}
	cfg.InitialCluster = cfg.Name + "=" + me.String()
	cfg.UnsafeNoFsync = !p.cfg.Fsync
	cfg.TickMs, cfg.ElectionMs = 10, 100
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	select {
	case <-e.Server.ReadyNotify():
		p.etcd = e
		return nil
	case err := <-e.Err():
		return fmt.Errorf("start etcd: %w", err)
	case <-time.After(30 * time.Second):
		e.Close()
		return errors.New("start etcd: not ready in 30 s")
	}
}

func (p *Plane) startAPIServer(ctx context.Context) error {
	l, err := net.Listen("tcp", net.JoinHostPort(p.cfg.Host, fmt.Sprint(p.cfg.Port)))
	if err != nil {
		return err
	}
	p.URL = "https://" + l.Addr().String()
	if p.Kubeconfig, err = p.WriteKubeconfig("admin", "kubernetes-admin", "system:masters"); err != nil {
		return err
	}
	completed, err := complete(ctx, l, append(p.flags(), p.cfg.APIServer...))
	if err != nil {
		return fmt.Errorf("start kube-apiserver: %w", err)
	}
	go func() {
		err := apiserverapp.Run(ctx, completed)
		p.Errs <- fmt.Errorf("kube-apiserver ended: %w", errors.Join(err, ctx.Err()))
	}()
	return p.waitReady(ctx)
}

func (p *Plane) flags() []string {
	reconciler := "lease"
	if ip := net.ParseIP(p.cfg.Host); ip != nil && ip.IsLoopback() {
		reconciler = "none" // the Endpoints of default/kubernetes may not hold a loopback address
	}
	const issuer = "https://kubernetes.default.svc.cluster.local"
	return []string{
		"--etcd-servers=unix://" + p.path("etcd.sock"),
		"--bind-address=" + p.cfg.Host, "--advertise-address=" + p.cfg.Host,
		"--tls-cert-file=" + p.path("apiserver.crt"), "--tls-private-key-file=" + p.path("apiserver.key"),
		"--client-ca-file=" + p.CAFile,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--service-account-issuer=" + issuer, "--api-audiences=" + issuer,
		"--service-account-key-file=" + p.path("sa.pub"),
		"--service-account-signing-key-file=" + p.path("sa.key"),
		"--service-cluster-ip-range=10.96.0.0/16",
		"--anonymous-auth=true", // /readyz for whoever waits for it
		"--profiling=false",
		"--allow-privileged=true",
		"--endpoint-reconciler-type=" + reconciler,
	}
}

// complete does with flags what kube-apiserver's command does, but for its signal handler, which would be the process's.
func complete(ctx context.Context, l net.Listener, flags []string) (options.CompletedOptions, error) {
	var none options.CompletedOptions
	s := options.NewServerRunOptions()
	fs := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, f := range s.Flags().FlagSets {
		fs.AddFlagSet(f)
	}
	if err := fs.Parse(flags); err != nil {
		return none, err
	}
	s.SecureServing.Listener, s.SecureServing.BindPort = l, l.Addr().(*net.TCPAddr).Port
	if err := s.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return none, err
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	gate := s.GenericServerRunOptions.ComponentGlobalsRegistry.FeatureGateFor(compatibility.DefaultKubeComponent)
	if err := logsapi.ValidateAndApply(s.Logs, gate); err != nil {
		return none, err
	}
	c, err := s.Complete(ctx)
	if err != nil {
		return none, err
	}
	return c, utilerrors.NewAggregate(c.Validate())
}

func (p *Plane) waitReady(ctx context.Context) error {
	pool := x509.NewCertPool()
	pool.AddCert(p.ca)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer tr.CloseIdleConnections()
	client := &http.Client{Timeout: 5 * time.Second, Transport: tr}
	last := errors.New("not asked")
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
		select {
		case err := <-p.Errs:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		if last = ready(client, p.URL+"/readyz"); last == nil {
			return nil
		}
	}
	return fmt.Errorf("kube-apiserver: /readyz: %w", last)
}

func ready(client *http.Client, url string) error {
	r, err := client.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, body)
	}
	return err
}
