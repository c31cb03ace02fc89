package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/sensor"
)

func TestStatusServer(t *testing.T) {
	waitsFor := errors.New("not attached")
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "tiercel_test_total", Help: "x"}))
	s, err := newStatusServer("127.0.0.1:0", reg, []readiness{
		{"bus", func() error { return nil }},
		{"sensor", func() error { return waitsFor }},
	}, map[string]func() any{"/losses": func() any { return []sensor.ContainerLoss{{Container: "host", Event: 3}} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	get := func(path string, wantCode int, want string) {
		t.Helper()
		resp, err := http.Get("http://" + s.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != wantCode || !strings.Contains(string(body), want) {
			t.Errorf("%s: got %d %q, want %d with %q", path, resp.StatusCode, body, wantCode, want)
		}
	}
	get("/healthz", http.StatusOK, "ok")
	get("/readyz", http.StatusServiceUnavailable, "sensor: not attached")
	waitsFor = nil
	get("/readyz", http.StatusOK, "ok")
	get("/metrics", http.StatusOK, "tiercel_test_total 0")
	get("/losses", http.StatusOK, `[{"container":"host","process":0,"event":3,`)

	for addr, want := range map[string]bool{"127.0.0.1:9": true, "[::ffff:127.0.0.1]:9": true, "10.0.0.9:9": false, "": false} {
		r := &http.Request{RemoteAddr: addr}
		r = r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8765}))
		if got := fromHere(r); got != want {
			t.Errorf("%q: got %v, want %v", addr, got, want)
		}
	}
	if _, err := newStatusServer(s.Addr(), reg, nil, nil); err == nil || !strings.Contains(err.Error(), "--http") {
		t.Errorf("an address in use: got %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
