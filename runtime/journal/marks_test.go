package journal

import (
	"testing"
	"time"
)

// Marks stay for as long as there is room for them, and never shorter than MinSeen.
func TestMarks(t *testing.T) {
	for _, c := range []struct {
		name      string
		perMinute int
		most      time.Duration
		want      time.Duration
	}{
		{"few", 600, time.Hour, time.Hour},
		{"some", 20_000, time.Hour, 10 * time.Minute},
		{"many", 180_000, time.Hour, MinSeen},
		{"configured shorter", 180_000, time.Second, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m marks
			var got time.Duration
			for i := range 3 * c.perMinute {
				got = m.ttl(time.Hour+time.Duration(i)*time.Minute/time.Duration(c.perMinute), c.most)
			}
			if got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if got := m.ttl(2*time.Hour, c.most); got != c.most {
				t.Errorf("after an hour of rest: %v", got)
			}
		})
	}
}
