package sensor

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/decode"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// TestFlightRecordNames: a flight record is asked for by id, by its beginning, or by the names that people know a container by.
func TestFlightRecordNames(t *testing.T) {
	res := slowResolver{make(chan *container.Info)}
	r := start(t, func(c *Config, d *Deps) {
		d.Resolvers = []container.Resolver{res}
		c.IdentityTimeout = 10 * time.Second
	})
	r.src.events <- cgroup(7, "/kubepods/besteffort/pod"+testUID+"/"+testID)
	r.src.events <- shadow(inPod(20, "cat"))
	res.answer <- &container.Info{Name: "app", Pod: container.Pod{Name: "web-0", Namespace: "prod"}}
	r.out.waitFor(t, "pod=web-0")
	removed := &event.Event{Type: field.EventUnlinkat, BootNS: bootNS(), ReadNS: bootNS(), Raw: decode.CgroupRecord(7, false, "/x", bootNS())}
	r.pipeline.recorder.Keep(testID, "", removed)
	for _, name := range []string{testID, testID[:12], "app", "web-0", "prod/web-0"} {
		if n, err := r.FlightRecord(io.Discard, name, time.Minute); n != 1 || err != nil {
			t.Errorf("%s: %d events, %v", name, n, err)
		}
	}
	for _, name := range []string{"", "ap", "test/web-0", "/"} {
		if _, err := r.FlightRecord(io.Discard, name, time.Minute); !errors.Is(err, ErrNotRecorded) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
