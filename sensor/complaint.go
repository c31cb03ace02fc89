package sensor

import (
	"log/slog"
	"sync"
	"time"
)

// complaintEvery is how often at most it is logged that one output fails.
const complaintEvery = time.Minute

// A complaint says in the log that an output fails: at once, and then at most once in complaintEvery, for where alerts come by the hundred a second
// so would lines. The counters have every one.
type complaint struct {
	log    *slog.Logger
	output string

	mu   sync.Mutex
	last time.Time // guarded by mu; of the last line, zero before the first
	kept int       // guarded by mu; how many there were since that line
}

// tell logs err unless it has just logged another. It is safe for concurrent use.
func (c *complaint) tell(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !c.last.IsZero() && now.Sub(c.last) < complaintEvery {
		c.kept++
		return
	}
	attrs := []any{"output", c.output, "err", err}
	if c.kept > 0 {
		attrs = append(attrs, "more_since_the_last_line", c.kept)
	}
	c.log.Warn("output failed", attrs...)
	c.last, c.kept = now, 0
}
