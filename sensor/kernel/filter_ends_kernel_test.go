//go:build kernel

package kernel

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

func init() {
	// ends: connects by IPv4 to port 1, by IPv6 to port 2, by IPv6 to an address of IPv4 and port 3, and to a unix socket that is not there.
	addChild("ends", func([]string) error {
		mapped := &unix.SockaddrInet6{Port: 3}
		copy(mapped.Addr[:], net.ParseIP("::ffff:127.0.0.2").To16())
		for _, c := range []struct {
			family int
			to     unix.Sockaddr
		}{
			{unix.AF_INET, &unix.SockaddrInet4{Port: 1, Addr: [4]byte{127, 0, 0, 1}}},
			{unix.AF_INET6, &unix.SockaddrInet6{Port: 2, Addr: [16]byte{15: 1}}},
			{unix.AF_INET6, mapped},
			{unix.AF_UNIX, &unix.SockaddrUnix{Name: "/nowhere/socket"}},
		} {
			fd, err := unix.Socket(c.family, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			_ = unix.Connect(fd, c.to) // refused
			_ = unix.Close(fd)
		}
		return nil
	})
}

// listed is n values made by make, then last.
func listed(n int, last string, make func(i int) string) string {
	var values []string
	for i := range n {
		values = append(values, make(i))
	}
	return "(" + strings.Join(append(values, last), ", ") + ")"
}

// Each comparison of the ends of a connection lets out what it holds for and drops what it does not, and the other way round when negated.
func TestFilterEnds(t *testing.T) {
	names := map[uint16]string{1: "4", 2: "6", 3: "m"}
	name := func(ev *event.Event) string {
		if ev.Socket.Family == unix.AF_UNIX {
			return "u"
		}
		return names[ev.Socket.Remote.Port()]
	}
	w := start(t, func(ev *event.Event) bool { return ev.Type == field.EventConnect })
	many := func(i int) string { return fmt.Sprintf("10.0.%d.%d", i/200, i%200) }
	for _, tt := range []struct{ condition, yes, no string }{ // what leaves under the condition, and under its negation
		{"fd.sip = 127.0.0.1", "4", "6mu"},
		{"fd.sip != 127.0.0.1", "6m", "4u"},
		{"fd.sip = ::ffff:127.0.0.2", "m", "46u"},
		{"fd.rip in (127.0.0.2, ::1)", "6m", "4u"},
		{"fd.sip exists", "46m", "u"},
		{"fd.snet = 127.0.0.0/30", "4m", "6u"},
		{"fd.snet in (10.0.0.0/8, ::/0)", "6", "4mu"},
		{"fd.snet in (0.0.0.0/0)", "4m", "6u"},
		{"fd.ip = ::1", "6", "4mu"},
		{"fd.ip != ::1", "4m", "6u"},
		{"fd.sip in " + listed(300, "127.0.0.2", many), "m", "46u"},
		{"fd.snet in " + listed(40, "::/64", func(i int) string { return many(i) + "/32" }), "6", "4mu"},
		{"fd.sport = 1", "4", "6mu"},
		{"fd.sport > 1", "6m", "4u"},
		{"fd.sport != 1", "6m", "4u"},
		{"fd.rport in " + listed(200, "3", func(i int) string { return fmt.Sprint(1000 + 3*i) }), "m", "46u"},
		{"fd.rport in (2, 3, 4, 5, 6, 7)", "6m", "4u"},
		{"fd.port = 2", "6", "4mu"},
		{"fd.typechar = 4", "4m", "6u"},
		{"fd.type in (ipv6, unix)", "6u", "4m"},
		{"fd.sockfamily = ip", "46m", "u"},
		{"fd.sockfamily exists", "46mu", ""},
		{"fd.l4proto = tcp", "46m", "u"},
		{"fd.l4proto != udp", "46m", "u"},
		{"fd.is_server = true", "", "46mu"},
		{"fd.connected = false", "46mu", ""},
		{"fd.num > 100000", "", "46mu"},
		{"fd.name = x", "46mu", "46mu"}, // not known
	} {
		for i, want := range []string{tt.yes, tt.no} {
			condition := tt.condition
			if i == 1 {
				condition = "not " + condition
			}
			p := compilePlan(t, filter.Options{Shadow: true}, "evt.type = connect and "+condition)
			if err := w.Use(p, p); err != nil {
				t.Fatal(err)
			}
			if err := w.filter.refused[field.EventConnect]; err != nil {
				t.Fatalf("%s: %v", condition, err)
			}
			got := ""
			for _, ev := range w.collect(t, run(t, child(t, "ends"))) {
				if ev.Flags&event.Dropped == 0 {
					got += name(ev)
				}
			}
			if sorted(got) != sorted(want) {
				t.Errorf("%s: %q leave, want %q", condition, got, want)
			}
		}
	}
}

// Of forks, execs and ends of processes the kernel says whether a rule may match; all of them leave, for the process table.
func TestFilterLives(t *testing.T) {
	w := start(t, func(ev *event.Event) bool { return ev.Type != 0 && ev.Type != field.EventProcinfo })
	for _, tt := range []struct {
		typ       field.EventType
		condition string
		match     bool
	}{
		{field.EventExecve, "proc.name = true", true},
		{field.EventExecve, "proc.name = false", false},
		{field.EventExecve, "proc.name startswith tr and proc.is_exe_from_memfd = false", true},
		{field.EventExecve, "proc.name startswith fa", false},
		{field.EventExecve, "proc.is_exe_from_memfd = true", false},
		{field.EventExecve, "evt.failed = true", false},
		{field.EventExecve, "proc.cmdline contains x", true}, // not known
		{field.EventProcexit, "proc.name = true", true},
		{field.EventProcexit, "proc.name != true", false},
	} {
		for _, shadow := range []bool{false, true} {
			p := compilePlan(t, filter.Options{Shadow: shadow}, "evt.type = "+tt.typ.String()+" and "+tt.condition)
			if err := w.Use(p, p); err != nil {
				t.Fatal(err)
			}
			if err := w.filter.refused[tt.typ]; err != nil {
				t.Fatalf("%s: %v", tt.condition, err)
			}
			for range 3 { // of each CPU the first drop is one to be checked
				pid := run(t, exec.Command("/bin/true"))
				events := w.collect(t, pid)
				i := 0
				for i < len(events) && events[i].Type != tt.typ {
					i++
				}
				if i == len(events) {
					t.Fatalf("%s: no %s among %d events", tt.condition, tt.typ, len(events))
				}
				f := events[i].Flags
				if dropped := f&event.Dropped != 0; dropped == tt.match {
					t.Errorf("%s of %s: dropped: %v", tt.condition, tt.typ, dropped)
				}
				if f&event.Recorded != 0 && (tt.match || shadow) {
					t.Errorf("%s of %s: not to be looked at, though it matches or is to be checked", tt.condition, tt.typ)
				}
			}
		}
	}
}
