package sensor

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Losses of one container add up, cgroups of the host are told apart, and beyond the bound the smallest are counted together.
func TestLossTally(t *testing.T) {
	var tally lossTally
	if got := tally.list(); len(got) != 0 {
		t.Errorf("nothing lost: got %+v", got)
	}
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	tally.add(ContainerLoss{Container: "abc", Cgroup: "/x", Event: 5, Last: at(1)})
	tally.add(ContainerLoss{Container: "abc", Name: "web", Cgroup: "/y", Process: 2, Last: at(2)})
	tally.add(ContainerLoss{Container: "host", Cgroup: "/a", Event: 1, Last: at(3)})
	tally.add(ContainerLoss{Container: "host", Cgroup: "/b", Event: 3, Last: at(4)})
	want := []ContainerLoss{
		{Container: "abc", Name: "web", Cgroup: "/y", Process: 2, Event: 5, Last: at(2)},
		{Container: "host", Cgroup: "/b", Event: 3, Last: at(4)},
		{Container: "host", Cgroup: "/a", Event: 1, Last: at(3)},
	}
	if diff := cmp.Diff(want, tally.list()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i := range maxTallied - 2 { // one too many
		tally.add(ContainerLoss{Container: fmt.Sprint(i), Event: 10, Last: at(5)})
	}
	got := tally.list()
	if len(got) != maxTallied+1 {
		t.Fatalf("%d entries, want %d and the others", len(got), maxTallied)
	}
	if diff := cmp.Diff(ContainerLoss{Others: 1, Event: 1, Last: at(3)}, got[len(got)-1]); diff != "" {
		t.Errorf("the others (-want +got):\n%s", diff)
	}
	var all uint64
	for _, c := range got {
		all += c.total()
	}
	if wantAll := uint64(11 + 10*(maxTallied-2)); all != wantAll {
		t.Errorf("%d records in all, want %d", all, wantAll)
	}
}
