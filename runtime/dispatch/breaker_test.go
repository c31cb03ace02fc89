package dispatch

import (
	"testing"
	"time"
)

// After some failures in a row nothing is taken for a while, then one at a time, until something succeeds.
func TestBreaker(t *testing.T) {
	var b breaker
	now := time.Unix(0, 0)
	bad, good := Verdict{Transient: true}, Ack()
	for range breakAfter - 1 {
		b.note(bad, now)
	}
	if b.open(now) || b.testing() {
		t.Fatal("opened too early")
	}
	b.note(bad, now)
	if !b.open(now) || !b.testing() || b.open(now.Add(breakFirst)) {
		t.Fatal("did not open for as long as it should")
	}
	now = now.Add(breakFirst)
	b.note(bad, now)
	if !b.open(now.Add(breakFirst)) {
		t.Error("the second pause is not longer")
	}
	for range 20 {
		now = now.Add(time.Hour)
		b.note(bad, now)
	}
	if b.open(now.Add(breakMost)) {
		t.Error("the pause has no bound")
	}
	b.note(good, now)
	if b.open(now) || b.testing() {
		t.Error("a success does not close it")
	}
}

// A consumer of the messages of many functions goes on, whatever is out of reach.
func TestSharedHasNoBreaker(t *testing.T) {
	for _, shared := range []bool{false, true} {
		c := NewConsumer(Config{Concurrency: 4, Shared: shared}, nil, nil)
		for range 2 * breakAfter {
			c.note(Verdict{Transient: true})
		}
		if held, most := c.held(), c.most(); held == shared || (most == 4) != shared {
			t.Errorf("shared %v: held %v, takes %d at once", shared, held, most)
		}
	}
}
