//go:build kernel

package kernel

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

// sqe and params are struct io_uring_sqe and io_uring_params.
type sqe struct {
	opcode, flags byte
	ioprio        uint16
	fd            int32
	off, addr     uint64
	len, opFlags  uint32
	userData      uint64
	_             [3]uint64
}

type params struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sq                                                                     struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// Flags of linux/io_uring.h.
const (
	setupSQPoll    = 1 << 1
	cqeSkipSuccess = 1 << 6
)

// submitAll runs requests through an io_uring, one after the other, and waits for them.
func submitAll(setup uint32, requests []sqe) error {
	p := params{flags: setup, sqThreadIdle: 1000}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 16, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return fmt.Errorf("io_uring_setup: %w", errno)
	}
	ring, err := unix.Mmap(int(fd), 0, int(p.sq.array+p.sqEntries*4)+int(p.cq.cqes+p.cqEntries*16), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map ring: %w", err)
	}
	entries, err := unix.Mmap(int(fd), 0x10000000, int(p.sqEntries)*64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map entries: %w", err)
	}
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&ring[off])) }
	for i, r := range requests {
		*(*sqe)(unsafe.Pointer(&entries[i*64])) = r
		*at(p.sq.array + uint32(i)*4) = uint32(i)
		atomic.AddUint32(at(p.sq.tail), 1)
		const getEvents, wakeUp = 1, 2
		completes := uintptr(1)
		if r.flags&cqeSkipSuccess != 0 {
			completes = 0
		}
		_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, fd, 1, completes, getEvents|wakeUp, 0, 0)
		if errno != 0 {
			return fmt.Errorf("io_uring_enter: %w", errno)
		}
		for completes > 0 && atomic.LoadUint32(at(p.cq.tail)) <= uint32(i) {
			runtime.Gosched()
		}
	}
	return nil
}

func init() {
	// uring DIR MODE: opens, connects and unlinks without a system call of their names.
	addChild("uring", func(args []string) error {
		open := append([]byte(args[0]+"/by-uring"), 0)
		made := append([]byte("made"), 0)
		sock, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		addr := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: 9 << 8, Addr: [4]byte{127, 0, 0, 9}}
		p := func(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }
		cwd := int32(unix.AT_FDCWD)
		requests := []sqe{
			{opcode: 18, fd: cwd, addr: p(open), len: 0o640, opFlags: unix.O_CREAT | unix.O_WRONLY},
			{opcode: 16, fd: int32(sock), addr: uint64(uintptr(unsafe.Pointer(&addr))), off: unix.SizeofSockaddrInet4},
			{opcode: 37, fd: cwd, addr: p(made), len: 0o711},
			{opcode: 36, fd: cwd, addr: p(open)},
		}
		var setup uint32
		if args[1] == "sqpoll" {
			setup = setupSQPoll
		}
		if args[1] == "skip" {
			requests = requests[:1]
			requests[0].flags = cqeSkipSuccess
		}
		err = submitAll(setup, requests)
		// A request that has not begun when its process ends is cancelled, and that is a completion.
		for end := time.Now().Add(waitTime); args[1] == "skip" && unix.Access(args[0]+"/by-uring", unix.F_OK) != nil && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		runtime.KeepAlive(&addr)
		runtime.KeepAlive([][]byte{open, made})
		return err
	})
}

func TestUring(t *testing.T) {
	types := []field.EventType{field.EventOpenat, field.EventConnect, field.EventMkdirat, field.EventUnlinkat}
	set := field.NewEventSet(types...)
	for _, mode := range []string{"inline", "sqpoll", "skip"} {
		t.Run(mode, func(t *testing.T) {
			w := start(t, func(ev *event.Event) bool { return set.Has(ev.Type) }, types...)
			tmp := t.TempDir()
			file := filepath.Join(tmp, "by-uring")
			// play makes the requests and returns their events; of those that are not completed, the first.
			play := func() (events [4]*event.Event, late bool) {
				cmd := child(t, "uring", tmp, mode)
				cmd.Dir = tmp
				pid := run(t, cmd)
				for i, typ := range types {
					events[i] = w.find(t, typ.String(), func(ev *event.Event) bool {
						return ev.Task.PID == pid && ev.Type == typ && (i > 0 || ev.Open.Path.Raw == file)
					})
					late = late || events[i].Flags&event.NoResult != 0
					if mode == "skip" {
						break
					}
				}
				return events, late
			}
			events, late := play()
			for try := 0; mode != "skip" && late && try < 20; try++ { // the machine is busy: one took 100 ms
				_ = os.Remove(filepath.Join(tmp, "made"))
				events, late = play()
			}
			open, connect, mkdir, unlink := events[0], events[1], events[2], events[3]
			if o := open.Open; o.Flags&unix.O_CREAT == 0 || o.Mode != 0o640 || o.DirFD != unix.AT_FDCWD {
				t.Errorf("openat: got %+v", o)
			}
			if mode == "skip" {
				if open.Flags&event.NoResult == 0 {
					t.Errorf("openat without a completion: got result %d, flags %x", open.Result, open.Flags)
				}
				return
			}
			if o := open.Open; o.Path.Resolved != file || !o.Created || open.Result < 0 || open.Flags&event.NoResult != 0 {
				t.Errorf("openat: got %+v = %d", o, open.Result)
			}
			if want := netip.MustParseAddrPort("127.0.0.9:9"); connect.Socket.Remote != want || connect.Result != -int64(unix.ECONNREFUSED) {
				t.Errorf("connect: got %+v = %d, want %v", connect.Socket, connect.Result, want)
			}
			if p := mkdir.Path[0]; p.Raw != "made" || p.Dir != tmp || mkdir.Num[2] != 0o711 || mkdir.Result != 0 {
				t.Errorf("mkdirat: got %+v %v = %d", p, mkdir.Num, mkdir.Result)
			}
			if p := unlink.Path[0]; p.Raw != file || unlink.Result != 0 {
				t.Errorf("unlinkat: got %+v = %d", p, unlink.Result)
			}
		})
	}
}
