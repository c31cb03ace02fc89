//go:build kernel

package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

// The ports of the requests that uring-sockets makes, each with a socket of its own.
const (
	uringBinds = 7101 + iota
	uringListens
	uringConnects
	uringSendsTo
	uringSendsZC
	uringSendsMessage
	uringSends
	uringReceives
	uringReceivesMessage
	uringAlone // two datagrams of one socket, at once
	uringBeside
)

func rawAddr(home netip.Addr, port int) *unix.RawSockaddrInet4 {
	return &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: uint16(port>>8 | port&0xff<<8), Addr: home.As4()}
}

func word[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

// A socketRequest is a request about a socket that has been made ready for it.
type socketRequest struct {
	sqe
	fd int
}

// socketRequests makes the sockets and their requests, all of the address home. What the requests point to is in keep.
func socketRequests(home netip.Addr) (list []socketRequest, keep []any, err error) {
	socket := func(typ int, at func(fd int) error) int {
		fd, e := unix.Socket(unix.AF_INET, typ, 0)
		if e == nil && at != nil {
			e = at(fd)
		}
		err = errors.Join(err, e)
		return fd
	}
	addr := func(port int) *unix.SockaddrInet4 { return &unix.SockaddrInet4{Port: port, Addr: home.As4()} }
	connected := func(port int) func(int) error { return func(fd int) error { return unix.Connect(fd, addr(port)) } }
	const length = unix.SizeofSockaddrInet4
	text := []byte("text")
	into := make([]byte, 16)
	message := func(port int, data []byte) *unix.Msghdr {
		v := &unix.Iovec{Base: &data[0], Len: uint64(len(data))}
		m := &unix.Msghdr{Iov: v, Iovlen: 1}
		if port != 0 {
			a := rawAddr(home, port)
			m.Name, m.Namelen = (*byte)(unsafe.Pointer(a)), length
			keep = append(keep, a)
		}
		keep = append(keep, m, v)
		return m
	}
	bindTo, connectTo, sendTo, sendZCTo := rawAddr(home, uringBinds), rawAddr(home, uringConnects), rawAddr(home, uringSendsTo), rawAddr(home, uringSendsZC)
	keep = append(keep, text, into, bindTo, connectTo, sendTo, sendZCTo)
	stream, datagram := unix.SOCK_STREAM, unix.SOCK_DGRAM
	bound := func(port int) func(int) error { return func(fd int) error { return unix.Bind(fd, addr(port)) } }
	receiver := func(port int) int { // whose peer has sent something
		other := socket(datagram, bound(port))
		fd := socket(datagram, connected(port))
		me, e := unix.Getsockname(fd)
		if e == nil {
			e = unix.Sendto(other, text, 0, me)
		}
		err = errors.Join(err, e)
		return fd
	}
	twice := socket(datagram, nil)
	list = []socketRequest{
		{sqe{opcode: 56, addr: word(bindTo), off: length}, socket(stream, nil)},
		{sqe{opcode: 57, len: 3}, socket(stream, bound(uringListens))},
		{sqe{opcode: 16, addr: word(connectTo), off: length}, socket(datagram, nil)},
		{sqe{opcode: 26, addr: word(&text[0]), len: 4, off: word(sendTo), slot: length}, socket(datagram, nil)},
		{sqe{opcode: 47, addr: word(&text[0]), len: 4, off: word(sendZCTo), slot: length}, socket(datagram, nil)},
		{sqe{opcode: 9, addr: word(message(uringSendsMessage, text)), len: 1}, socket(datagram, nil)},
		{sqe{opcode: 26, addr: word(&text[0]), len: 4}, socket(datagram, connected(uringSends))},
		{sqe{opcode: 27, addr: word(&into[0]), len: 16}, receiver(uringReceives)},
		{sqe{opcode: 10, addr: word(message(0, into)), len: 1}, receiver(uringReceivesMessage)},
		{sqe{opcode: 9, addr: word(message(uringAlone, text)), len: 1}, twice},
		{sqe{opcode: 9, addr: word(message(uringBeside, text)), len: 1}, twice},
	}
	return list, keep, err
}

func init() {
	// uring-sockets ADDRESS SETUP FLAGS: makes requests about sockets. It prints which operations the kernel has not.
	addChild("uring-sockets", func(args []string) error {
		var setup uint32
		var flags byte
		if _, err := fmt.Sscan(args[1]+" "+args[2], &setup, &flags); err != nil {
			return err
		}
		home, err := netip.ParseAddr(args[0])
		if err != nil {
			return err
		}
		list, keep, err := socketRequests(home)
		if err != nil {
			return err
		}
		u, err := newURing(setup, len(list))
		if err != nil {
			return err
		}
		has, err := u.operations()
		if err != nil {
			return err
		}
		var requests []sqe
		for i, r := range list {
			const sendZC = 47 // always has a completion
			if !has[r.opcode] || r.opcode == sendZC && flags&cqeSkipSuccess != 0 {
				fmt.Println("without", r.opcode)
				continue
			}
			r.sqe.fd, r.flags = int32(r.fd), flags
			if flags&fixedFile != 0 {
				r.sqe.fd = int32(i)
				if err := u.put(uint32(i), r.fd); err != nil {
					return err
				}
			}
			requests = append(requests, r.sqe)
		}
		err = u.submit(requests...)
		// Requests that have not been carried out when their process ends are cancelled.
		fmt.Println("submitted")
		_, _ = io.Copy(io.Discard, os.Stdin)
		runtime.KeepAlive(keep)
		return err
	})
}

// Requests about sockets say which socket, what its ends are and where the request goes: before it is carried out if there is no completion.
func TestUringSockets(t *testing.T) {
	types := []field.EventType{
		field.EventBind, field.EventListen, field.EventConnect, field.EventSendto, field.EventSendmsg, field.EventRecvfrom, field.EventRecvmsg,
	}
	set := field.NewEventSet(types...)
	mine := filepath.Base(os.Args[0])
	w := start(t, func(ev *event.Event) bool { return set.Has(ev.Type) && strings.HasPrefix(mine, ev.Task.Comm) }, types...)
	type want struct {
		typ                        field.EventType
		op                         int
		local, remote              int // ports; 0: not looked at
		kind                       uint8
		server, connected, changed bool
	}
	wants := []want{
		{typ: field.EventBind, op: 56, local: uringBinds, kind: unix.SOCK_STREAM},
		{typ: field.EventListen, op: 57, local: uringListens, kind: unix.SOCK_STREAM, server: true},
		{typ: field.EventConnect, op: 16, remote: uringConnects, kind: unix.SOCK_DGRAM, changed: true},
		{typ: field.EventSendto, op: 26, remote: uringSendsTo, kind: unix.SOCK_DGRAM, changed: true},
		{typ: field.EventSendto, op: 47, remote: uringSendsZC, kind: unix.SOCK_DGRAM, changed: true},
		{typ: field.EventSendmsg, op: 9, remote: uringSendsMessage, kind: unix.SOCK_DGRAM, changed: true},
		{typ: field.EventSendto, op: 26, remote: uringSends, kind: unix.SOCK_DGRAM, connected: true},
		{typ: field.EventRecvfrom, op: 27, remote: uringReceives, kind: unix.SOCK_DGRAM, connected: true},
		{typ: field.EventRecvmsg, op: 10, remote: uringReceivesMessage, kind: unix.SOCK_DGRAM, connected: true},
		{typ: field.EventSendmsg, op: 9, remote: uringAlone, kind: unix.SOCK_DGRAM, changed: true},
		{typ: field.EventSendmsg, op: 9, remote: uringBeside, kind: unix.SOCK_DGRAM, changed: true},
	}
	for i, mode := range []struct {
		name  string
		setup uint32
		flags byte
	}{
		{"inline", 0, 0},
		{"sqpoll", setupSQPoll, 0},
		{"async", 0, async},
		{"fixed", 0, fixedFile},
		{"inline, skip", 0, cqeSkipSuccess},
		{"sqpoll, skip", setupSQPoll, cqeSkipSuccess},
		{"async, skip", 0, async | cqeSkipSuccess},
		{"fixed, skip", 0, fixedFile | cqeSkipSuccess},
		{"fixed, sqpoll, skip", setupSQPoll, fixedFile | cqeSkipSuccess},
	} {
		t.Run(mode.name, func(t *testing.T) {
			home := netip.AddrFrom4([4]byte{127, 77, 0, byte(i + 1)}) // the sockets of the last one may not be closed yet
			cmd := child(t, "uring-sockets", home.String(), fmt.Sprint(mode.setup), fmt.Sprint(mode.flags))
			end, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := errors.Join(end.Close(), cmd.Wait()); err != nil {
					t.Error(err)
				}
			}()
			without := map[string]bool{}
			for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "submitted"; {
				without[lines.Text()] = true
			}
			pid := uint32(cmd.Process.Pid)
			for _, x := range wants {
				if without[fmt.Sprint("without ", x.op)] {
					continue
				}
				ev := w.find(t, fmt.Sprintf("%v of %+v", x.typ, x), func(ev *event.Event) bool {
					s := ev.Socket
					bound := x.op == 56 && ev.Flags&event.NoResult != 0 // where is not known then
					return ev.Task.PID == pid && ev.Type == x.typ && (bound || x.local == 0 || s.Local == netip.AddrPortFrom(home, uint16(x.local))) &&
						(x.remote == 0 || s.Remote == netip.AddrPortFrom(home, uint16(x.remote)))
				})
				s := ev.Socket
				if s.Family != unix.AF_INET || s.Type != x.kind || s.Server != x.server || s.Changed != x.changed || x.op != 16 && s.Connected != x.connected {
					t.Errorf("%v: got %+v, want %+v", x.typ, s, x)
				}
				if (s.FD >= 0) != (mode.flags&fixedFile == 0) {
					t.Errorf("%v: got descriptor %d", x.typ, s.FD)
				}
				if mode.flags&cqeSkipSuccess == 0 && ev.Flags&event.NoResult == 0 && ev.Result < 0 {
					t.Errorf("%v: got result %d", x.typ, ev.Result)
				}
			}
		})
	}
}
