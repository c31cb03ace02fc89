package domain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
		var mu sync.Mutex
		zone := map[string][]netip.Addr{"x.example": {a, b}, "y.example": {netip.AddrFrom16(a.As16())}}
		n := New(DefaultConfig(), func(_ context.Context, _, host string) ([]netip.Addr, error) {
			mu.Lock()
			defer mu.Unlock()
			if addrs := zone[host]; addrs != nil {
				return addrs, nil
			}
			return nil, errors.New("no such host")
		}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = n.Run(ctx) }()
		check := func(when string, addr netip.Addr, want ...string) {
			t.Helper()
			if got := n.Of(addr); !slices.Equal(got, want) {
				t.Errorf("%s: %v is %q, want %q", when, addr, got, want)
			}
		}
		synctest.Wait()
		check("before", a)
		n.Use([]string{"y.example", "x.example", "y.example", "gone.example"})
		synctest.Wait()
		check("resolved", a, "x.example", "y.example")
		check("resolved", b, "x.example")
		mu.Lock()
		delete(zone, "x.example")
		mu.Unlock()
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		check("kept", b, "x.example")
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		check("given up", b)
		check("given up", a, "y.example")
		n.Use(nil)
		synctest.Wait()
		check("not asked for", a)
	})
}

// Names that nobody answers for do not keep the others waiting, and no more than AtOnce are asked for at a time.
func TestSlowNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		addr := netip.MustParseAddr("192.0.2.1")
		var asked, most atomic.Int32
		cfg := DefaultConfig()
		n := New(cfg, func(ctx context.Context, _, host string) ([]netip.Addr, error) {
			defer asked.Add(-1)
			if now := asked.Add(1); now > most.Load() {
				most.Store(now)
			}
			if host == "z.example" {
				return []netip.Addr{addr}, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = n.Run(ctx) }()
		names := []string{"z.example"}
		for i := range 3 * cfg.AtOnce {
			names = append(names, fmt.Sprintf("slow%d.example", i))
		}
		n.Use(names)
		time.Sleep(3*cfg.Timeout + time.Millisecond) // z.example is in the fourth row, and the names of that one are not through
		synctest.Wait()
		if got := n.Of(addr); !slices.Equal(got, []string{"z.example"}) {
			t.Errorf("%v is %q before the slow names are through", addr, got)
		}
		if most.Load() != int32(cfg.AtOnce) {
			t.Errorf("%d names were looked up at once, want %d", most.Load(), cfg.AtOnce)
		}
	})
}

func TestBound(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxNames = 2
	n := New(cfg, nil, slog.New(slog.DiscardHandler))
	n.Use([]string{"c", "b", "a"})
	if got := *n.wanted.Load(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("wanted %q", got)
	}
}
