package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A readiness is a part's answer to /readyz: nil, or what it waits for.
type readiness struct {
	name  string
	check func() error
}

// A statusServer serves /metrics, /healthz and /readyz, and what else is given.
type statusServer struct {
	ln  net.Listener
	srv *http.Server
}

// newStatusServer listens on addr at once, so that an address in use is an error before anything else starts. Close it if it is not run. views
// are served as JSON, by path.
func newStatusServer(addr string, reg *prometheus.Registry, ready []readiness, views map[string]func() any) (*statusServer, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for --http: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		var waiting []string
		for _, r := range ready {
			if err := r.check(); err != nil {
				waiting = append(waiting, r.name+": "+err.Error())
			}
		}
		if len(waiting) > 0 {
			http.Error(w, strings.Join(waiting, "\n"), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	for path, view := range views {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if !fromHere(r) {
				http.Error(w, "names of containers and processes are for this machine, or pod, alone", http.StatusForbidden)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(view()) // an error is the reader's: it has gone
		})
	}
	return &statusServer{ln: ln, srv: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}}, nil
}

// fromHere reports whether a request comes from the machine, or the pod, that it came to.
func fromHere(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return false
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap() == local.AddrPort().Addr().Unmap()
}

// Addr is where it listens.
func (s *statusServer) Addr() string { return s.ln.Addr().String() }

// Run serves until ctx ends.
func (s *statusServer) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.srv.Close() })
	defer stop()
	if err := s.srv.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.Addr(), err)
	}
	return nil
}
