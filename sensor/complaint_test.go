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
