package dispatch

import (
	"sync"
	"time"
)

// A breaker holds pulling back while the target of a function's calls is out of reach: each event taken would only be suspended. After
// some failures in a row it opens, then lets one event through to see.
type breaker struct {
	mu       sync.Mutex
	failures int       // in a row; guarded by mu
	until    time.Time // guarded by mu
}

const (
	breakAfter = 5
	breakFirst = 500 * time.Millisecond
	breakMost  = 10 * time.Second
)

// note takes the outcome of one message into account.
func (b *breaker) note(v Verdict, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !v.Transient {
		b.failures, b.until = 0, time.Time{}
		return
	}
	if b.failures++; b.failures >= breakAfter && !now.Before(b.until) {
		b.until = now.Add(min(breakFirst<<min(b.failures-breakAfter, 8), breakMost))
	}
}

// open reports whether nothing is to be taken.
func (b *breaker) open(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return now.Before(b.until)
}

// testing reports whether only one message is to be taken.
func (b *breaker) testing() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures >= breakAfter
}
