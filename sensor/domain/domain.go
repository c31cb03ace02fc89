// Package domain knows which of the domain names that rules compare with (fd.sip.name = example.com) an address belongs to at present. As
// in Falco, it is the rules' names that are resolved, in the background; no name is ever looked up for an address.
package domain

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// A Config bounds a Names.
type Config struct {
	// MaxNames is how many names are resolved; what rules name beyond is not. Positive. Default 1024.
	MaxNames int
	// Refresh is how often all names are resolved again. Positive. Default 60s.
	Refresh time.Duration
	// Timeout bounds the look-up of one name. Positive. Default 2s.
	Timeout time.Duration
	// AtOnce is how many names are looked up at the same time. Positive. Default 16.
	AtOnce int
	// Keep is how long the addresses of a name are believed that cannot be resolved any more. Positive. Default 1h.
	Keep time.Duration
}

// DefaultConfig returns the defaults of Config.
func DefaultConfig() Config {
	return Config{MaxNames: 1024, Refresh: time.Minute, Timeout: 2 * time.Second, AtOnce: 16, Keep: time.Hour}
}

// A Lookup resolves a name: net.Resolver's LookupNetIP.
type Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// A Names maps addresses to the names they have. Of and Use are safe for concurrent use, beside one Run.
type Names struct {
	cfg    Config
	lookup Lookup
	log    *slog.Logger
	wanted atomic.Pointer[[]string]
	byAddr atomic.Pointer[map[netip.Addr][]string]
	wake   chan struct{} // capacity 1: other names are wanted
}

// New returns a Names that knows no name. A nil lookup is the system's resolver.
func New(cfg Config, lookup Lookup, log *slog.Logger) *Names {
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	n := &Names{cfg: cfg, lookup: lookup, log: log, wake: make(chan struct{}, 1)}
	n.wanted.Store(new([]string))
	n.byAddr.Store(new(map[netip.Addr][]string))
	return n
}

// Use makes names those that are resolved.
func (n *Names) Use(names []string) {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > n.cfg.MaxNames {
		n.log.Warn("rules compare with more domain names than are resolved", "names", len(names), "resolved", n.cfg.MaxNames)
		names = names[:n.cfg.MaxNames]
	}
	n.wanted.Store(&names)
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Of returns the names that a has, sorted; none if it has none that a rule asks for.
func (n *Names) Of(a netip.Addr) []string { return (*n.byAddr.Load())[a.Unmap()] }

// All returns the names of every address that has one. The map must not be changed; another call may return another one.
func (n *Names) All() map[netip.Addr][]string { return *n.byAddr.Load() }

// Put makes byAddr, whose names are sorted, what is known, for replays.
func (n *Names) Put(byAddr map[netip.Addr][]string) { n.byAddr.Store(&byAddr) }

// An entry is what is known of a name.
type entry struct {
	addrs []netip.Addr
	at    time.Time // of the last look-up that succeeded
}

// Run resolves names until ctx ends.
func (n *Names) Run(ctx context.Context) error {
	known := map[string]entry{}
	every := time.NewTicker(n.cfg.Refresh)
	defer every.Stop()
	for {
		n.resolve(ctx, known)
		select {
		case <-ctx.Done():
			return nil
		case <-n.wake:
		case <-every.C:
		}
	}
}

// resolve looks all names up and publishes what they are.
func (n *Names) resolve(ctx context.Context, known map[string]entry) {
	names := *n.wanted.Load()
	for name := range known {
		if _, ok := slices.BinarySearch(names, name); !ok {
			delete(known, name)
		}
	}
	type answer struct {
		name  string
		addrs []netip.Addr
		err   error
	}
	answers, slots := make(chan answer), make(chan bool, n.cfg.AtOnce)
	go func() {
		for _, name := range names {
			slots <- true
			go func() {
				one, cancel := context.WithTimeout(ctx, n.cfg.Timeout)
				defer cancel()
				addrs, err := n.lookup(one, "ip", name)
				<-slots
				answers <- answer{name, addrs, err}
			}()
		}
	}()
	for range names {
		a := <-answers
		_, before := known[a.name]
		switch {
		case ctx.Err() != nil:
		case a.err == nil:
			known[a.name] = entry{a.addrs, time.Now()}
			if !before { // do not wait for those that take their time
				n.publish(names, known)
			}
		case time.Since(known[a.name].at) > n.cfg.Keep:
			n.log.Debug("domain name of a rule not resolved", "domain", a.name, "err", a.err)
			delete(known, a.name)
		}
	}
	n.publish(names, known)
}

// publish makes what is known what Of answers.
func (n *Names) publish(names []string, known map[string]entry) {
	byAddr := map[netip.Addr][]string{}
	for _, name := range names { // sorted, so the lists are
		for _, a := range known[name].addrs {
			byAddr[a.Unmap()] = append(byAddr[a.Unmap()], name)
		}
	}
	n.byAddr.Store(&byAddr)
}
