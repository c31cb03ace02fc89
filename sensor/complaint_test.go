package sensor

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestComplaint: the first failure of an output is logged at once, those after it once a minute, with their number.
func TestComplaint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := &complaint{log: slog.New(slog.NewTextHandler(&log, nil)), output: "http"}
		for range 1000 {
			c.tell(errors.New("status 500"))
		}
		if n := strings.Count(log.String(), "output failed"); n != 1 || !strings.Contains(log.String(), `output=http err="status 500"`) {
			t.Errorf("%d lines for a thousand failures:\n%s", n, &log)
		}
		time.Sleep(complaintEvery)
		c.tell(errors.New("gone"))
		if !strings.HasSuffix(log.String(), "err=gone more_since_the_last_line=999\n") {
			t.Errorf("after a minute:\n%s", &log)
		}
	})
}

// TestComplaintOfSensor: however many alerts an output of a running sensor fails to take, there is a line of it a minute.
func TestComplaintOfSensor(t *testing.T) {
	const alerts = 30
	began := time.Now()
	r := start(t, func(c *Config, _ *Deps) { c.FileOutput = "/dev/full" })
	r.src.events <- cgroup(1, "/user.slice")
	failed := func() (n int) {
		for _, o := range r.outputs.List {
			n += int(o.Stats().Failed)
		}
		return n
	}
	for i := range alerts { // one after the other, for those that are written at once fail at once
		r.src.events <- shadow(task(10, "cat"))
		for end := time.Now().Add(2 * time.Minute); failed() <= i; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d alerts failed, want %d; the log has:\n%s", failed(), i+1, r.log.String())
			}
		}
	}
	r.stop()
	most := 1 + int(time.Since(began)/complaintEvery)
	if n := strings.Count(r.log.String(), "output failed"); n < 1 || n > most {
		t.Errorf("%d lines, want 1 to %d:\n%s", n, most, r.log.String())
	}
}
