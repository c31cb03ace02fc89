package dispatch

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		h := Beat(time.Second, func() { n++; time.Sleep(100 * time.Millisecond) })
		time.Sleep(3500 * time.Millisecond) // beats at 1.0, 2.1 and 3.2
		h.Stop()
		h.Stop()
		time.Sleep(10 * time.Second)
		if n != 3 {
			t.Errorf("%d beats, want 3", n)
		}
	})
}

// Stop waits for the call that is under way.
func TestHeartbeatStopWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		h := Beat(time.Second, func() { time.Sleep(time.Minute); ended = true })
		time.Sleep(2 * time.Second)
		h.Stop()
		if !ended {
			t.Error("Stop returned while the call was under way")
		}
	})
}
