package heap

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestPercent(t *testing.T) {
	for _, tt := range []struct {
		live uint64
		want int
	}{{0, 100}, {1, 100}, {28 << 20, 100}, {35 << 20, 80}, {56 << 20, 50}, {90 << 20, 30}, {1 << 40, 30}} {
		if got := percent(tt.live); got != tt.want {
			t.Errorf("%d bytes alive: got %d %%, want %d %%", tt.live, got, tt.want)
		}
	}
}

// set is the percentage in force.
func set() int {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	return int(s[0].Value.Uint64())
}

func TestPace(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(90))
	stop := Pace()
	defer stop()
	collected := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); set() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("got %d %%, want %d %%", set(), want)
			}
			runtime.GC()
		}
	}
	func() {
		kept := make([]byte, 100<<20)
		collected(least)
		runtime.KeepAlive(kept)
	}()
	collected(most)
	stop()
	stop()
	if got := set(); got != 90 {
		t.Errorf("stopped: got %d %%, want 90 %%", got)
	}
}

func TestGOGCWins(t *testing.T) {
	t.Setenv("GOGC", "70")
	defer debug.SetGCPercent(debug.SetGCPercent(70))
	defer Pace()()
	if got := set(); got != 70 {
		t.Errorf("got %d %%, want 70 %%", got)
	}
}
