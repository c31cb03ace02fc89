package journal

import (
	"sync"
	"time"
)

// MinSeen is the least time for which a sealed invocation refuses duplicates by itself. Under load the time shrinks down to it, so that
// what is over does not fill the stream of what is not; events that come later are looked up in ACTIONS.
const MinSeen = 2 * time.Minute

// maxMarks is how many marks one runtime has in the stream at a time, as long as MinSeen allows. One is about 430 bytes.
const maxMarks = 200_000

// marks measures how fast invocations are sealed, by the minute.
type marks struct {
	mu       sync.Mutex
	minute   int64 // the one being counted; guarded by mu
	now, was int   // seals in it and in the one before; guarded by mu
}

// ttl counts one more mark and returns how long it is to stay.
func (m *marks) ttl(boot, most time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch minute := int64(boot / time.Minute); {
	case minute == m.minute+1:
		m.minute, m.was, m.now = minute, m.now, 0
	case minute != m.minute:
		m.minute, m.was, m.now = minute, 0, 0
	}
	m.now++
	perMinute := max(m.now, m.was)
	ttl := time.Duration(maxMarks/perMinute) * time.Minute
	return min(max(ttl, min(MinSeen, most)), most).Truncate(time.Second)
}
