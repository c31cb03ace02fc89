package sensor

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/sensor/kernel"
)

// TestLoss: lost records make an alert and an event.
func TestLoss(t *testing.T) {
	b := startBus(t)
	got := events(t, b)
	r := start(t, func(_ *Config, d *Deps) { d.Bus = b })
	r.log.waitFor(t, "watching the kernel")
	r.src.mu.Lock()
	r.src.lost = 17
	r.src.mu.Unlock()
	r.out.waitFor(t, "ring=event lost=17")
	ev := receive(t, got)
	if ev.Type != bus.TypeRecordsLost || !strings.HasPrefix(ev.Extensions["subject"].(string), "tiercel.events.syscall.warning.") {
		t.Errorf("event %+v", ev)
	}
}

// TestLossOfContainers: what a container lost is told with its name, the rest by ring, and nothing twice.
func TestLossOfContainers(t *testing.T) {
	b := startBus(t)
	got := events(t, b)
	r := start(t, func(_ *Config, d *Deps) { d.Bus = b })
	r.log.waitFor(t, "watching the kernel")
	id := strings.Repeat("ab", 32)
	r.src.events <- cgroup(7, "/kubepods/pod1/"+id)
	r.src.events <- cgroup(8, "/kubepods/pod1/"+id+"/inner")
	r.src.mu.Lock()
	r.src.lost = 17
	r.src.charged = []kernel.CgroupLoss{{ID: 7, Event: 9}, {ID: 8, Event: 3}, {ID: 99, Event: 1}}
	r.src.mu.Unlock()
	r.out.waitFor(t, "ring=event lost=4")
	r.out.waitFor(t, "container="+id[:12]+" cgroup=/kubepods/pod1/"+id+" process=0 event=12")
	var m bus.MatchData
	if err := json.Unmarshal(receive(t, got).Data, &m); err != nil {
		t.Fatal(err)
	}
	if m.Target.ContainerID != id || m.Target.CgroupID != 7 {
		t.Errorf("target %+v", m.Target)
	}
	if n := strings.Count(r.out.String(), "ring=event"); n != 1 {
		t.Errorf("%d events of the ring, want 1:\n%s", n, r.out)
	}
}

// TestLossOfMany: where more containers lose records at once than have events of their own, the smaller losses share one, and all are counted.
func TestLossOfMany(t *testing.T) {
	const more = 3
	r := start(t, nil)
	r.log.waitFor(t, "watching the kernel")
	var charged []kernel.CgroupLoss
	var all uint64
	for i := range uint64(maxCharged + more) {
		r.src.events <- cgroup(100+i, fmt.Sprintf("/kubepods/pod1/%064x", i))
		n := 1000 - i // the greatest first, as the kernel side gives them
		charged = append(charged, kernel.CgroupLoss{ID: 100 + i, Event: n})
		all += n
	}
	r.src.mu.Lock()
	r.src.lost, r.src.charged = all+5, charged
	r.src.mu.Unlock()
	r.out.waitFor(t, "ring=event lost=5")
	last := uint64(maxCharged + more)
	r.out.waitFor(t, fmt.Sprintf("containers=%d process=0 event=%d", more, more*1000-(last-3+last-2+last-1)))
	if n := strings.Count(r.out.String(), "Records of one container"); n != maxCharged {
		t.Errorf("%d containers have an event of their own, want %d", n, maxCharged)
	}
	var tallied uint64
	for _, c := range r.Losses() {
		tallied += c.Event
	}
	if tallied != all {
		t.Errorf("%d records are on the containers' accounts, want %d", tallied, all)
	}
}
