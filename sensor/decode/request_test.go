package decode

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

func TestAlone(t *testing.T) {
	file := event.Open{Ino: 7, Path: event.Path{Resolved: "/etc/shadow"}}
	for _, tt := range []struct {
		name string
		done event.Event
		want bool
	}{
		{"open", event.Event{Result: 3, Open: file}, true},
		{"connect", event.Event{Socket: event.Socket{Family: unix.AF_INET}}, true},
		{"connect that failed", event.Event{Result: -int64(unix.ECONNREFUSED), Socket: event.Socket{Family: unix.AF_INET}}, true},
		{"open that failed", event.Event{Result: -int64(unix.ENOENT)}, false},
		{"receive that was cancelled", event.Event{Result: -int64(unix.ECANCELED), Socket: event.Socket{Family: unix.AF_INET}}, false},
		{"rename", event.Event{Type: field.EventRenameat2}, false},
	} {
		if got := Alone(&tt.done); got != tt.want {
			t.Errorf("%s: got %t", tt.name, got)
		}
	}
}

func TestNews(t *testing.T) {
	open := func(raw, resolved string) event.Event {
		return event.Event{Open: event.Open{Ino: 7, Path: event.Path{Raw: raw, Resolved: resolved}}}
	}
	connected := func(to string) event.Event {
		s := event.Socket{Family: unix.AF_INET}
		if to != "" {
			s.Remote = netip.MustParseAddrPort(to)
		}
		return event.Event{Socket: s}
	}
	for _, tt := range []struct {
		name     string
		ev, done event.Event
		want     bool
	}{
		{"the file that was asked for", open("/etc/shadow", ""), open("", "/etc/shadow"), false},
		{"another one", open("/tmp/link", ""), open("", "/etc/shadow"), true},
		{"one known before", open("", "/var/log/a"), open("", "/var/log/a"), false},
		{"an error", open("/etc/shadow", ""), event.Event{Result: -1}, true},
		{"rename", event.Event{Type: field.EventRenameat2}, event.Event{}, false},
		{"the peer that was asked for", connected("192.0.2.1:80"), connected("192.0.2.1:80"), false},
		{"another one", connected("192.0.2.1:80"), connected("192.0.2.2:80"), true},
		{"no peer", connected("192.0.2.1:80"), connected(""), false},
		{"accepted", event.Event{}, connected("192.0.2.1:80"), true},
		{"received", connected(""), event.Event{Socket: connected("").Socket, Data: []byte("x")}, true},
	} {
		if got := News(&tt.ev, &tt.done); got != tt.want {
			t.Errorf("%s: got %t", tt.name, got)
		}
	}
}

// What completes has a result, also where it was reported without one before.
func TestCompleteResult(t *testing.T) {
	ev := event.Event{Flags: event.NoResult | event.CgroupV1}
	Complete(&ev, &event.Event{Result: 5})
	if ev.Flags != event.CgroupV1 || ev.Result != 5 {
		t.Errorf("flags %x, result %d", ev.Flags, ev.Result)
	}
}
