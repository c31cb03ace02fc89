//go:build kernel

package kernel

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

func init() {
	// connect NETWORK ADDRESS: connects and does not mind failing.
	addChild("connect", func(args []string) error {
		c, err := net.DialTimeout(args[0], args[1], 2*time.Second)
		if err == nil {
			_, err = c.Write([]byte("hello"))
			c.Close()
			return err
		}
		return nil
	})
	// sendto PORT: two datagrams to one address, then one to another, by sendto, sendmsg and sendmmsg.
	addChild("sendto", func(args []string) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		port, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		to := &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
		for range 2 {
			if err := unix.Sendto(fd, []byte("to the port"), 0, to); err != nil {
				return err
			}
		}
		return unix.Sendmsg(fd, []byte("message"), nil, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 2}}, 0)
	})
	// fastopen PORT: a send that connects.
	addChild("fastopen", func(args []string) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		port, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		_ = unix.Sendto(fd, []byte("fast"), unix.MSG_FASTOPEN, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
		return nil
	})
	// serve PATH: accepts one connection of its own making.
	addChild("serve", func(args []string) error {
		var plain net.ListenConfig
		plain.SetMultipathTCP(false) // whose sockets keep no backlog
		l, err := plain.Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		if c, err = l.Accept(); err != nil {
			return err
		}
		return c.Close()
	})
}

// closedPort returns a port of address on which nothing listens.
func closedPort(t *testing.T, network, address string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen(network, net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

func TestConnect(t *testing.T) {
	w := start(t, func(ev *event.Event) bool { return ev.Type == field.EventConnect }, field.EventConnect)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	open := netip.MustParseAddrPort(l.Addr().String())
	for _, tt := range []struct {
		network string
		to      netip.AddrPort
		family  uint16
		typ     uint8
		results []int64
	}{
		{"tcp", closedPort(t, "tcp", "127.0.0.1"), unix.AF_INET, unix.SOCK_STREAM, []int64{-int64(unix.ECONNREFUSED), -int64(unix.EINPROGRESS)}},
		{"tcp", closedPort(t, "tcp", "::1"), unix.AF_INET6, unix.SOCK_STREAM, []int64{-int64(unix.ECONNREFUSED), -int64(unix.EINPROGRESS)}},
		{"tcp", open, unix.AF_INET, unix.SOCK_STREAM, []int64{-int64(unix.EINPROGRESS)}},
		{"udp", netip.MustParseAddrPort("127.0.0.1:9"), unix.AF_INET, unix.SOCK_DGRAM, []int64{0}},
	} {
		t.Run(fmt.Sprintf("%s %v", tt.network, tt.to), func(t *testing.T) {
			pid := run(t, child(t, "connect", tt.network, tt.to.String()))
			ev := w.find(t, "connect", func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Socket.Family == tt.family })
			s := ev.Socket
			if s.Remote != tt.to || s.Type != tt.typ || !s.Changed || s.Server || s.FD < 3 {
				t.Errorf("socket: got %+v, want remote %v", s, tt.to)
			}
			if ev.Result != tt.results[0] && ev.Result != tt.results[len(tt.results)-1] {
				t.Errorf("result: got %d, want one of %v", ev.Result, tt.results)
			}
			if ev.Flags&event.ArgsUnstable != 0 {
				t.Error("arguments are unstable")
			}
		})
	}
}

func TestConnectUnix(t *testing.T) {
	w := start(t, func(ev *event.Event) bool { return ev.Type == field.EventConnect }, field.EventConnect)
	path := filepath.Join(t.TempDir(), "s")
	pid := run(t, child(t, "connect", "unix", path))
	ev := w.find(t, "failed connect", func(ev *event.Event) bool { return ev.Task.PID == pid })
	if ev.Socket.UnixPath != path || ev.Result != -int64(unix.ENOENT) || ev.Socket.Family != unix.AF_UNIX {
		t.Errorf("got %+v = %d, want path %s", ev.Socket, ev.Result, path)
	}
	for _, path := range []string{path, "@tiercel-test-" + strconv.Itoa(int(pid))} {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		want := path
		if path[0] == '@' {
			want = "\x00" + path[1:]
		}
		pid := run(t, child(t, "connect", "unix", path))
		ev := w.find(t, "connect", func(ev *event.Event) bool { return ev.Task.PID == pid })
		if ev.Socket.UnixPath != want || ev.Result != 0 {
			t.Errorf("got %q = %d, want path %q", ev.Socket.UnixPath, ev.Result, want)
		}
	}
}

func TestSend(t *testing.T) {
	w := start(t, func(ev *event.Event) bool { return ev.Type == field.EventSendto || ev.Type == field.EventSendmsg }, field.EventSendto, field.EventSendmsg)
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := netip.MustParseAddrPort(l.LocalAddr().String())
	pid := run(t, child(t, "sendto", strconv.Itoa(int(to.Port()))))
	var changed []bool
	last := w.find(t, "sendmsg", func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Type == field.EventSendmsg })
	for _, ev := range w.seen {
		if ev.Task.PID != pid || ev.Type != field.EventSendto {
			continue
		}
		changed = append(changed, ev.Socket.Changed)
		if ev.Socket.Remote != to || string(ev.Data) != "to the port" || ev.Socket.Size != 11 || ev.Result != 11 || ev.Socket.Connected {
			t.Errorf("sendto: got %+v %q", ev.Socket, ev.Data)
		}
	}
	if len(changed) != 2 || !changed[0] || changed[1] {
		t.Errorf("changed: got %v, want [true false]", changed)
	}
	if want := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), to.Port()); last.Socket.Remote != want || !last.Socket.Changed || string(last.Data) != "message" {
		t.Errorf("sendmsg: got %+v %q, want %v", last.Socket, last.Data, want)
	}
}

func TestFastOpenConnects(t *testing.T) {
	w := start(t, func(ev *event.Event) bool { return ev.Type == field.EventConnect || ev.Type == field.EventSendto }, field.EventConnect)
	to := closedPort(t, "tcp", "127.0.0.1")
	pid := run(t, child(t, "fastopen", strconv.Itoa(int(to.Port()))))
	ev := w.find(t, "connect", func(ev *event.Event) bool { return ev.Task.PID == pid })
	if ev.Type != field.EventConnect || ev.Socket.Remote != to {
		t.Errorf("got %s to %v, want connect to %v", ev.Type, ev.Socket.Remote, to)
	}
}

func TestServer(t *testing.T) {
	types := []field.EventType{field.EventSocket, field.EventBind, field.EventListen, field.EventAccept4}
	set := field.NewEventSet(types...)
	w := start(t, func(ev *event.Event) bool { return set.Has(ev.Type) }, types...)
	pid := run(t, child(t, "serve"))
	of := func(typ field.EventType) *event.Event {
		return w.find(t, typ.String(), func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Type == typ && ev.Result >= 0 })
	}
	accept, listen := of(field.EventAccept4), of(field.EventListen)
	bind := w.find(t, "bind", func(ev *event.Event) bool {
		return ev.Task.PID == pid && ev.Type == field.EventBind && ev.Socket.Family == unix.AF_INET
	})
	if !accept.Socket.Server || int64(accept.Socket.FD) != accept.Result || !accept.Socket.Remote.IsValid() || accept.Socket.BacklogMax == 0 {
		t.Errorf("accept: got %+v", accept.Socket)
	}
	if !listen.Socket.Server || listen.Socket.Local != accept.Socket.Local || listen.Num[1] == 0 {
		t.Errorf("listen: got %+v, accepted at %v", listen.Socket, accept.Socket.Local)
	}
	if bind.Socket.Local != accept.Socket.Local {
		t.Errorf("bind: got %+v, accepted at %v", bind.Socket, accept.Socket.Local)
	}
	if s := of(field.EventSocket); s.Num[0] == 0 || int64(s.Socket.FD) != s.Result {
		t.Errorf("socket: got %+v, arguments %v", s.Socket, s.Num)
	}
}
