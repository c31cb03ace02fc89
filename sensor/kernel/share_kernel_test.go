//go:build kernel

package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
	"golang.org/x/sys/unix"
)

func init() {
	// in CGROUP CHILD ARGS...: enters the cgroup, then is the child.
	addChild("in", func(args []string) error {
		if err := os.WriteFile(filepath.Join(args[0], "cgroup.procs"), []byte("0"), 0); err != nil {
			return err
		}
		return children[args[1]](args[2:])
	})
	// forks N: runs a program N times.
	addChild("forks", func(args []string) error {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		env := []string{"PAD=" + strings.Repeat("x", 3000)}
		for range n {
			cmd := exec.Command("/bin/true")
			cmd.Env = env
			if err := cmd.Run(); err != nil {
				return err
			}
		}
		return nil
	})
}

// testCgroup makes a cgroup of the hierarchy by which the sensor tells cgroups apart, and returns its directory and id.
func testCgroup(t testing.TB, name string) (dir string, id uint64) {
	t.Helper()
	root, err := FindCgroup2("/")
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(root, fmt.Sprintf("tiercel-test-%d-%s", os.Getpid(), name))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeCgroup(t, dir) })
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	return dir, st.Ino
}

// shareRing is the size of a ring that the floods of these tests do not fit into.
func shareRing() int {
	if rounds(10) < 10 {
		return 256 << 10
	}
	return 1 << 20
}

// onlyFloods has the kernel keep back the opens of everybody else on the machine: they would need room, too.
func onlyFloods(t *testing.T, s *Sensor) {
	t.Helper()
	p := compilePlan(t, filter.Options{}, "evt.type=openat and fd.name=/nonexistent/flood")
	if err := s.Use(p, p); err != nil {
		t.Fatal(err)
	}
}

// A cgroup that floods the ring fills its share of it and no more: what others do afterwards has room, and what is lost is the flooder's.
func TestShares(t *testing.T) {
	victim, flood := max(20, rounds(100)), rounds(20000)
	flooder, flooderID := testCgroup(t, "flooder")
	second, secondID := testCgroup(t, "second")
	innocent, innocentID := testCgroup(t, "innocent")
	s, err := Open(Config{RingBytes: shareRing()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	onlyFloods(t, s)
	// Nobody reads meanwhile.
	run(t, child(t, "in", flooder, "flood", strconv.Itoa(flood)))
	run(t, child(t, "in", second, "flood", strconv.Itoa(flood)))
	run(t, child(t, "in", innocent, "flood", strconv.Itoa(victim)))

	got := map[uint64]int{}
	for s.drain(func(ev *event.Event) {
		if ev.Type == field.EventOpenat && ev.Open.Path.Raw == "/nonexistent/flood" {
			got[ev.Task.CgroupID]++
		}
	}) {
	}
	if got[innocentID] != victim {
		t.Errorf("of the innocent one's %d events %d arrived", victim, got[innocentID])
	}
	if got[flooderID] < got[secondID] || got[secondID] == 0 {
		t.Errorf("the first flooder has %d events, the second %d", got[flooderID], got[secondID])
	}
	losses, err := s.Losses()
	if err != nil {
		t.Fatal(err)
	}
	charged := map[uint64]CgroupLoss{}
	for _, l := range losses {
		charged[l.ID] = l
	}
	for name, id := range map[string]uint64{"first": flooderID, "second": secondID} {
		if l := charged[id]; l.V1 || l.Process != 0 || int(l.Event)+got[id] < flood {
			t.Errorf("the %s flooder: %d arrived of %d, charged %+v", name, got[id], flood, l)
		}
	}
	if l, ok := charged[innocentID]; ok {
		t.Errorf("the innocent one is charged %+v", l)
	}
	st, err := s.Stats()
	if err != nil {
		t.Fatal(err)
	}
	share := st.Rings[1].Lost[3]
	if share.Reason != "share" || share.Count < charged[flooderID].Event+charged[secondID].Event {
		t.Errorf("lost by share: %+v, charged %+v", share, losses)
	}
	t.Logf("arrived: %d of the first, %d of the second, %d of the innocent", got[flooderID], got[secondID], got[innocentID])

	if again, err := s.Losses(); err != nil || len(again) != 0 {
		t.Errorf("losses taken twice: %v %v", again, err)
	}
	// What was read is no longer on anybody's account.
	run(t, child(t, "in", flooder, "flood", strconv.Itoa(victim)))
	n := 0
	for s.drain(func(ev *event.Event) {
		if ev.Task.CgroupID == flooderID && ev.Type == field.EventOpenat && ev.Result < 0 {
			n++
		}
	}) {
	}
	if n < victim {
		t.Errorf("after the ring was read %d of the flooder's %d events arrived", n, victim)
	}
}

// A cgroup that has filled the ring with calls, or with requests of io_uring, has its turn and no more before whoever comes after it.
func TestTurns(t *testing.T) {
	const flood = 1000
	for _, how := range []string{"flood", "uring-flood"} {
		t.Run(how, func(t *testing.T) {
			flooder, flooderID := testCgroup(t, "flooder")
			innocent, innocentID := testCgroup(t, "innocent")
			c := backend()
			c.RingBytes = shareRing() << 2 // that nothing is lost
			s, err := Open(c)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			onlyFloods(t, s)
			// Nobody reads meanwhile.
			run(t, child(t, "in", flooder, how, strconv.Itoa(flood)))
			run(t, child(t, "in", innocent, how, "1"))

			got, before := map[uint64]int{}, 0
			for s.drain(func(ev *event.Event) {
				if ev.Type != field.EventOpenat || ev.Open.Path.Raw != "/nonexistent/flood" {
					return
				}
				if got[ev.Task.CgroupID]++; ev.Task.CgroupID == innocentID {
					before = got[flooderID]
				}
			}) {
			}
			if got[flooderID] != flood || got[innocentID] != 1 || before > turnRecords {
				t.Errorf("%d of %d events of the flooder and %d of the innocent one; %d came before it, want at most %d", got[flooderID], flood, got[innocentID], before, turnRecords)
			}
		})
	}
}

// However many cgroups lose records, each is charged with what it lost.
func TestManyCharged(t *testing.T) {
	const cgroups, each = 20, 50
	flooder, flooderID := testCgroup(t, "full")
	s, err := Open(Config{RingBytes: minRingBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	onlyFloods(t, s)
	flood := rounds(20000)
	run(t, child(t, "in", flooder, "flood", strconv.Itoa(flood)))
	lost := map[uint64]uint64{flooderID: uint64(flood)}
	for i := range cgroups {
		dir, id := testCgroup(t, "charged"+strconv.Itoa(i))
		lost[id] = each
		run(t, child(t, "in", dir, "flood", strconv.Itoa(each)))
	}
	for s.drain(func(ev *event.Event) {
		if ev.Type == field.EventOpenat && ev.Open.Path.Raw == "/nonexistent/flood" {
			lost[ev.Task.CgroupID]--
		}
	}) {
	}
	losses, err := s.Losses()
	if err != nil {
		t.Fatal(err)
	}
	charged := map[uint64]uint64{}
	for _, l := range losses {
		charged[l.ID] += l.Event
	}
	some := 0
	for id, n := range lost {
		if charged[id] != n {
			t.Errorf("cgroup %d lost %d records, and is charged with %d", id, n, charged[id])
		}
		if n > 0 {
			some++
		}
	}
	if some <= cgroups/2 {
		t.Errorf("%d of %d cgroups lost records: the ring was not full", some, cgroups+1)
	}
}

// A fork bomb costs its own cgroup's process records only.
func TestProcessShares(t *testing.T) {
	bomb, bombID := testCgroup(t, "bomb")
	innocent, innocentID := testCgroup(t, "quiet")
	s, err := Open(Config{ProcessRingBytes: shareRing()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	run(t, child(t, "in", bomb, "forks", strconv.Itoa(rounds(700))))
	run(t, child(t, "in", innocent, "forks", "5"))
	forks := map[uint64]int{}
	for s.drain(func(ev *event.Event) {
		if ev.Fork.ChildPID != 0 {
			forks[ev.Task.CgroupID]++
		}
	}) {
	}
	if forks[innocentID] < 5 {
		t.Errorf("%d forks of the innocent one arrived", forks[innocentID])
	}
	losses, err := s.Losses()
	if err != nil {
		t.Fatal(err)
	}
	if len(losses) == 0 || losses[0].ID != bombID || losses[0].Process == 0 {
		t.Errorf("losses %+v, want those of the bomb first", losses)
	}
	for _, l := range losses {
		if l.ID == innocentID {
			t.Errorf("the innocent one is charged %+v", l)
		}
	}
	t.Logf("forks: %d of the bomb, %d of the innocent; charged %+v", forks[bombID], forks[innocentID], losses)
}
