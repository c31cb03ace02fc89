package function

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"30s": 30 * time.Second, "15m": 15 * time.Minute, "1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "0": 0} {
		d, err := ParseDuration(text)
		if err != nil || d.Std() != want {
			t.Errorf("%s: %v, %v", text, d, err)
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Errorf("%s written as %s is read as %v, %v", text, d, again, err)
		}
	}
	for _, text := range []string{"", "-1s", "5", "1w", "99999999d"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("%q is %v", text, d)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"64Mi": 64 << 20, "1Gi": 1 << 30, "10M": 10e6, "512Ki": 512 << 10, "123": 123, "0": 0} {
		s, err := ParseSize(text)
		if err != nil || s != want {
			t.Errorf("%s: %v, %v", text, s, err)
		}
		if again, err := ParseSize(s.String()); err != nil || again != s {
			t.Errorf("%s written as %s is read as %v, %v", text, s, again, err)
		}
	}
	for _, text := range []string{"", "-1", "64MB", "Mi", "9223372036854775807Gi"} {
		if s, err := ParseSize(text); err == nil {
			t.Errorf("%q is %v", text, s)
		}
	}
}
