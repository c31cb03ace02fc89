//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// lateMany is how many opens of mode "many" wait: more than user space remembers, and the kernel's side.
const lateMany = 9000

// setupCQSize gives a ring as much room for completions as is asked for; without it there is room for 32.
const setupCQSize = 1 << 3

// late is how long requests wait before they are carried out.
func late() time.Duration { return 3 * requestWait * time.Duration(slower()) }

func init() {
	// uring-late LINK MODE: makes requests that are carried out long after they were submitted.
	addChild("uring-late", func(args []string) error {
		runtime.LockOSThread()
		link, nothing, mode := append([]byte(args[0]), 0), []byte("/nonexistent/late\x00"), args[1]
		defer runtime.KeepAlive([][]byte{link, nothing})
		u := &uring{params: params{flags: setupCQSize, cqEntries: 4 * lateMany}}
		if strings.HasPrefix(mode, "overflow") {
			u = &uring{}
		}
		if err := u.open(); err != nil {
			return err
		}
		gate, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			return err
		}
		shut, err := unix.Eventfd(0, unix.EFD_CLOEXEC) // another one, for good
		if err != nil {
			return err
		}
		const pollIn = 1
		behindGate := func(path []byte, flags byte) []sqe {
			return []sqe{
				{opcode: 6, flags: linked, fd: int32(gate), opFlags: pollIn},
				{opcode: 18, flags: flags, fd: unix.AT_FDCWD, addr: uint64(uintptr(unsafe.Pointer(&path[0]))), userData: uint64(u.made)},
			}
		}
		raise := func() error { _, err := unix.Write(gate, []byte{1, 0, 0, 0, 0, 0, 0, 0}); return err }
		switch mode {
		case "open":
			err = u.begin(0, behindGate(link, 0)...)
			time.Sleep(late())
			return errors.Join(err, raise(), u.begin(2))
		case "silent":
			err = u.begin(0, behindGate(link, cqeSkipSuccess)...)
			time.Sleep(late())
			err = errors.Join(err, raise(), u.begin(1))
			time.Sleep(requestWait)
			return err
		case "many", "many, silent":
			flags, completed := byte(0), uint32(2*lateMany)
			if mode != "many" {
				flags, completed = cqeSkipSuccess, lateMany
			}
			for i := 0; i < lateMany && err == nil; i++ {
				path := nothing
				if i == 1 {
					path = link
				}
				err = u.begin(0, behindGate(path, flags)...)
			}
			time.Sleep(late()) // all of that is read
			return errors.Join(err, raise(), u.begin(completed))
		case "overflow", "overflow, two of a name":
			for i := 0; i < 32 && err == nil; i++ {
				err = u.begin(0, sqe{})
			}
			err = errors.Join(err, u.begin(0, behindGate(nothing, 0)...)) // the first one may be looked at by other ways
			err = errors.Join(err, u.begin(0, behindGate(link, 0)...))
			if mode != "overflow" {
				next := behindGate(nothing, 0)
				next[0].fd, next[1].userData = int32(shut), next[1].userData-2
				err = errors.Join(err, u.begin(0, next...))
			}
			time.Sleep(late())
			return errors.Join(err, raise(), u.begin(33), u.begin(0))
		case "accept", "multishot accept":
			return acceptLate(u, mode != "accept")
		}
		return fmt.Errorf("no mode %q", mode)
	})
}

// acceptLate accepts a connection that comes long after the request; with a multishot request, two.
func acceptLate(u *uring, multishot bool) error {
	server, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Bind(server, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(server, 1)); err != nil {
		return err
	}
	at, err := unix.Getsockname(server)
	if err != nil {
		return err
	}
	r, clients := sqe{opcode: 13, fd: int32(server)}, 1
	if multishot {
		r.ioprio, clients = 1, 2
	}
	err = u.begin(0, r)
	time.Sleep(late())
	for i := 0; i < clients && err == nil; i++ {
		client, e := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err = e; err == nil {
			err = errors.Join(unix.Connect(client, at), u.begin(uint32(i+1)))
		}
	}
	return err
}

// A request that is carried out long after it was submitted is reported as it was carried out. On backend T one whose completion finds no room is not
// where another one has its name, but nor is that taken for it.
func TestUringLate(t *testing.T) {
	types := []field.EventType{field.EventOpenat, field.EventAccept4}
	set := field.NewEventSet(types...)
	other := func(ev *event.Event) bool { return ev.Open.Path.Raw == "/nonexistent/late" }
	w := start(t, func(ev *event.Event) bool { return set.Has(ev.Type) && (!other(ev) || ev.Open.Path.Resolved != "") }, types...)
	modes := []string{"open", "many", "overflow", "overflow, two of a name"}
	if w.Backend() == BackendL || atLeast(t, 6, 10) {
		modes = append(modes, "silent")
	}
	if w.Backend() == BackendL {
		modes = append(modes, "many, silent")
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			link, file := linkedFile(t, t.TempDir())
			events := w.collect(t, run(t, child(t, "uring-late", link, mode)))
			found := slices.ContainsFunc(events, func(ev *event.Event) bool {
				return ev.Type == field.EventOpenat && ev.Open.Path.Resolved == file && ev.Result >= 0 && ev.Flags&event.NoResult == 0
			})
			asked := slices.ContainsFunc(events, func(ev *event.Event) bool { return ev.Open.Path.Raw == link })
			if unknown := w.Backend() == BackendT && mode == "overflow, two of a name"; !asked || !found && !unknown {
				t.Errorf("asked for %t, carried out %t", asked, found)
			}
			if slices.ContainsFunc(events, other) {
				t.Error("a request has another one's file")
			}
		})
	}
	for mode, want := range map[string]int{"accept": 1, "multishot accept": 2} {
		if want > 1 && !atLeast(t, 5, 19) {
			continue
		}
		t.Run(mode, func(t *testing.T) {
			peers := map[netip.AddrPort]bool{}
			for _, ev := range w.collect(t, run(t, child(t, "uring-late", "", mode))) {
				if ev.Type != field.EventAccept4 || ev.Result == -int64(unix.ECANCELED) {
					continue
				}
				if ev.Flags&event.NoResult != 0 || ev.Result < 0 || !ev.Socket.Remote.Addr().IsLoopback() || ev.Socket.Local.Port() == 0 {
					t.Errorf("got %+v = %d, flags %x", ev.Socket, ev.Result, ev.Flags)
				}
				peers[ev.Socket.Remote] = true
			}
			if len(peers) != want {
				t.Errorf("accepted %v, want %d", peers, want)
			}
		})
	}
}
