package kernel

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/decode"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

func TestParseRelease(t *testing.T) {
	for _, tt := range []struct {
		in           string
		major, minor int
		ok           bool
	}{
		{"6.1.0-56-amd64", 6, 1, true},
		{"5.17-rc1", 5, 17, true},
		{"6.18.44", 6, 18, true},
		{"6", 0, 0, false},
		{"x.y", 0, 0, false},
	} {
		major, minor, ok := parseRelease(tt.in)
		if ok != tt.ok || ok && (major != tt.major || minor != tt.minor) {
			t.Errorf("%q: got %d.%d %v", tt.in, major, minor, ok)
		}
	}
}

func TestParseCgroups(t *testing.T) {
	const in = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t9\t1\nmemory\t0\t7\t1\npids\t8\t7\t0\n"
	want := map[string]int32{"cpu": 2, "memory": 0}
	if diff := cmp.Diff(want, parseCgroups(strings.NewReader(in))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseMountinfo(t *testing.T) {
	const hybrid = "30 24 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n31 24 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n"
	if got := parseMountinfo(strings.NewReader(hybrid)); !slices.Equal(got, []string{"/sys/fs/cgroup/unified"}) {
		t.Errorf("got %q", got)
	}
	if got := parseMountinfo(strings.NewReader("30 24 0:26 / / rw - ext4 /dev/sda1 rw\n")); got != nil {
		t.Errorf("got %q, want none", got)
	}
}

func TestConfigValidate(t *testing.T) {
	if err := (Config{RingBytes: 1 << 20, ProcessRingBytes: minRingBytes}).Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []Config{{RingBytes: 100_000, ProcessRingBytes: 4096}, {RingBytes: 2 * maxRingBytes, ProcessRingBytes: -1}} {
		err := c.Validate()
		if err == nil || !strings.Contains(err.Error(), "ringBytes") || !strings.Contains(err.Error(), "processRingBytes") {
			t.Errorf("%+v: got %v, want both fields named", c, err)
		}
	}
}

func bit(words []uint64, i int) bool { return words[i/64]>>(i%64)&1 != 0 }

func TestInterest(t *testing.T) {
	number := func(typ field.EventType) int {
		for nr, got := range decode.NativeCalls() {
			if got == typ {
				return nr
			}
		}
		t.Fatalf("no number for %s", typ)
		return 0
	}
	openat, unlinkat, sendto := number(field.EventOpenat), number(field.EventUnlinkat), number(field.EventSendto)

	none := interestOf(filter.Everything(field.EventSet{}), nil)
	if none.any != [len(none.any)]uint64{} || none.enter.any != none.any || none.uring != [uringOps]uint16{} || none.wake != 0 {
		t.Errorf("nobody wants anything, got %+v", none)
	}
	in := interestOf(filter.Everything(field.NewEventSet(field.EventOpenat, field.EventUnlinkat, field.EventConnect, field.EventExecve)), nil)
	for _, nr := range []int{openat, unlinkat, sendto, number(field.EventConnect), number(field.EventExecve)} {
		if !bit(in.any[:], nr) || !bit(in.exact[:], nr) {
			t.Errorf("call %d is not let through", nr)
		}
	}
	if bit(in.any[:], number(field.EventMkdirat)) {
		t.Error("mkdirat is let through")
	}
	if !bit(in.enter.exact[:], unlinkat) || bit(in.enter.exact[:], openat) || !bit(in.copied.exact[:], unlinkat) || !bit(in.copied.exact[:], openat) {
		t.Error("paths before the call: want those of unlinkat, not those of openat")
	}
	if l := in.layouts[sendto]; l.Flags&onlyFastopen == 0 {
		t.Errorf("sendto: got %+v, want only fast open", l)
	}
	if l := interestOf(filter.Everything(field.NewEventSet(field.EventSendto)), nil).layouts[sendto]; l.Flags&onlyFastopen != 0 {
		t.Errorf("sendto: got %+v, want all of it", l)
	}
	if in.uring[18] != uint16(field.EventOpenat) || in.uring[37] != 0 || in.wake == 0 || in.destinations != 1 {
		t.Errorf("got %v, wake %b, destinations %d", in.uring, in.wake, in.destinations)
	}
	if hasIA32 {
		const ia32Openat, socketcallConnect = 295, 3
		if !bit(in.exact[:], callsNative+ia32Openat) || !bit(in.exact[:], callsNative+ia32Socketcall) || !bit(in.exact[:], callsNative+callsCompat+socketcallConnect) {
			t.Error("32-bit calls are not let through")
		}
	}
}

// Every layout names arguments that a call can have, and every call of the stock rules has one.
func TestLayouts(t *testing.T) {
	for typ, l := range layouts {
		for _, at := range []uint8{l.Path, l.Dir, l.Path2, l.Dir2, l.Fd, l.Data, l.Size, l.Addr, l.AddrLen, l.OpenFlags, l.OpenMode, l.OpenHow} {
			if at > 6 {
				t.Errorf("%s: argument %d", typ, at)
			}
		}
		if k := typ.Info().Kind; k != field.Syscall && k != field.Generic {
			t.Errorf("%s is no system call", typ)
		}
	}
	given := Given()
	for _, name := range strings.Fields(`execve execveat open openat openat2 connect accept accept4 listen sendmsg sendto rename renameat
		renameat2 rmdir unlink unlinkat recvfrom chmod creat fchmod fchmodat mkdir mkdirat ptrace recvmsg bpf dup dup2 dup3 finit_module
		init_module link linkat setns setuid socket symlink symlinkat unshare userfaultfd`) {
		typ, ok := field.EventTypeByName(name)
		if !ok || !given.Has(typ) {
			t.Errorf("%s is not given", name)
		}
	}
}

func TestSortNearly(t *testing.T) {
	got := []entry{{time: 3}, {time: 1, pos: 1}, {time: 1, pos: 2}, {time: 2}}
	sortNearly(got)
	want := []entry{{time: 1, pos: 1}, {time: 1, pos: 2}, {time: 2}, {time: 3}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(entry{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRequests(t *testing.T) {
	var r requests
	var got []uint64
	hand := func(ev *event.Event) {
		if ev.Flags&event.NoResult == 0 {
			t.Errorf("event of %d has a result", ev.BootNS)
		}
		got = append(got, ev.BootNS)
	}
	expect := func(what string, want ...uint64) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		got = nil
	}
	taken := func(request uint64, wantTold bool) {
		t.Helper()
		if ev, told := r.take(request); ev == nil || ev.BootNS != request || told != wantTold {
			t.Errorf("take %d: got %+v, told %t", request, ev, told)
		}
	}
	add := func(request uint64) { r.add(request, &event.Event{BootNS: request}) }
	for _, request := range []uint64{10, 20, 30} {
		add(request)
	}
	taken(20, false)
	r.expire(10+uint64(requestWait), hand)
	expect("first", 10)
	r.expire(30+uint64(requestWait), hand)
	expect("all", 30)
	taken(30, true)
	if ev, _ := r.take(30); ev != nil {
		t.Errorf("taken twice: %+v", ev)
	}
	for request, f := range map[uint64]event.Flags{40: 0, 50: event.NoResult} {
		r.add(request, &event.Event{Type: field.EventAccept4, BootNS: request, Flags: f})
	}
	r.expire(50+uint64(requestWait), hand)
	expect("accepts: only of one without a completion it is not known that nobody came", 50)
	taken(40, false)
	taken(50, true)
	for i := range uint64(maxRequests + 2) { // beyond the bound those that have left are forgotten
		add(100 + i)
	}
	r.expire(0, hand)
	expect("beyond the bound", 100, 101)
	if ev, _ := r.take(10); ev != nil || len(r.known) != maxRequests {
		t.Errorf("%d are known, of them %+v", len(r.known), ev)
	}
	r.expire(math.MaxUint64, hand)
	if len(r.known) > 0 || r.waiting.Len()+r.old.Len() > 0 {
		t.Errorf("%d are known after a minute", len(r.known))
	}
}
