// Package heap keeps the garbage of a process within bounds. With Go's own rule a process keeps as much garbage as it has data: a burst whose
// events the bus remembers for minutes would take twice their room. Pace is all there is to read.
package heap

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	headroom = 28 << 20 // bytes of garbage that may pile up at any rate, at most as many as are alive
	least    = 30       // percent of what is alive that may, however much that is
	most     = 100      // percent, Go's own
)

// percent is how much garbage may pile up beside that many bytes that are alive, in percent of them. It changes in steps of five.
func percent(live uint64) int {
	p := uint64(most)
	if live > 0 {
		p = headroom * 100 / live
	}
	return int(min(max(p, least), most)) / 5 * 5
}

// Pace adjusts the percentage after each collection, until stop is called, which puts the former one back and may be called twice. GOGC
// wins: if it is set, Pace does nothing. One Pace at a time.
func Pace() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	p := &pace{percent: most, before: debug.SetGCPercent(most)}
	p.watch()
	return p.stop
}

type pace struct {
	mu      sync.Mutex
	percent int  // as it is set; guarded by mu
	stopped bool // guarded by mu
	before  int
}

func (p *pace) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped {
		debug.SetGCPercent(p.before)
	}
	p.stopped = true
}

// A cycle is dead as soon as it is made, so that the next collection finalizes it.
type cycle struct{ _ [16]byte }

// watch waits for the next collection, without a goroutine or a clock of its own, and sets the percentage for the one after it.
func (p *pace) watch() {
	runtime.SetFinalizer(new(cycle), func(*cycle) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.stopped {
			return
		}
		if next := percent(alive()); next != p.percent {
			p.percent = next
			debug.SetGCPercent(next)
		}
		p.watch()
	})
}

// alive is how many bytes the last collection found alive.
func alive() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}
