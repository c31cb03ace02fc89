//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/decode"
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
	_             uint32
	slot          uint32 // file_index: where the ring's own table is to have the file, counted from 1
	_             [2]uint64
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
	fixedFile      = 1 << 0
	linked         = 1 << 2
	async          = 1 << 4 // carried out by a thread of the kernel
	cqeSkipSuccess = 1 << 6
	registerFiles  = 2
	updateFiles    = 6
	registerProbe  = 8
	registerRings  = 20
	ringsChoice    = 1<<32 - 1 // IORING_FILE_INDEX_ALLOC

	enterRegistered = 1 << 4
)

// An uring is an io_uring of this process.
type uring struct {
	params
	fd            uintptr
	enter         uintptr // how io_uring_enter takes it: its descriptor, or where it is registered
	enterFlags    uintptr
	ring, entries []byte
	made          uint32 // requests so far
}

// newURing makes an io_uring with a table of its own for so many files, or none.
func newURing(setup uint32, files int) (*uring, error) {
	u := &uring{params: params{flags: setup, sqThreadIdle: 1000}}
	if err := u.open(); err != nil {
		return nil, err
	}
	none := slices.Repeat([]int32{-1}, files+1)
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, u.fd, registerFiles, uintptr(unsafe.Pointer(&none[0])), uintptr(files), 0, 0); files > 0 && errno != 0 {
		return nil, fmt.Errorf("io_uring_register: %w", errno)
	}
	return u, nil
}

// open makes the io_uring of its parameters.
func (u *uring) open() (err error) {
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 16, uintptr(unsafe.Pointer(&u.params)), 0)
	if errno != 0 {
		return fmt.Errorf("io_uring_setup: %w", errno)
	}
	u.fd, u.enter = fd, fd
	u.ring, err = unix.Mmap(int(fd), 0, int(u.sq.array+u.sqEntries*4)+int(u.cq.cqes+u.cqEntries*16), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map ring: %w", err)
	}
	u.entries, err = unix.Mmap(int(fd), 0x10000000, int(u.sqEntries)*64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map entries: %w", err)
	}
	return nil
}

func (u *uring) at(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&u.ring[off])) }

// submit hands requests to the kernel, all at once, and waits for them.
func (u *uring) submit(requests ...sqe) error {
	completes := uint32(0)
	for _, r := range requests {
		if r.flags&cqeSkipSuccess == 0 {
			completes++
		}
	}
	end := atomic.LoadUint32(u.at(u.cq.tail)) + completes
	if err := u.begin(completes, requests...); err != nil {
		return err
	}
	for int32(atomic.LoadUint32(u.at(u.cq.tail))-end) < 0 {
		runtime.Gosched()
	}
	return nil
}

// begin hands requests to the kernel, all at once, and returns when so many have completed that were not reaped.
func (u *uring) begin(completed uint32, requests ...sqe) error {
	for _, r := range requests {
		i := u.made % u.sqEntries
		*(*sqe)(unsafe.Pointer(&u.entries[i*64])) = r
		*u.at(u.sq.array + i*4) = i
		u.made++
	}
	atomic.AddUint32(u.at(u.sq.tail), uint32(len(requests)))
	const getEvents, wakeUp = 1, 2
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, u.enter, uintptr(len(requests)), uintptr(completed), getEvents|wakeUp|u.enterFlags, 0, 0)
	if errno != 0 {
		return fmt.Errorf("io_uring_enter: %w", errno)
	}
	return nil
}

// reap takes all completions, of which the ring holds but so many, and returns how many they are.
func (u *uring) reap() uint32 {
	tail := atomic.LoadUint32(u.at(u.cq.tail))
	return tail - atomic.SwapUint32(u.at(u.cq.head), tail)
}

// register has the calling thread, which it locks, know the ring without its descriptor.
func (u *uring) register() error {
	runtime.LockOSThread()
	ring := struct {
		offset, _ uint32
		fd        uint64
	}{offset: 1<<32 - 1, fd: uint64(u.fd)} // the kernel's choice
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, u.fd, registerRings, uintptr(unsafe.Pointer(&ring)), 1, 0, 0); errno != 0 {
		return fmt.Errorf("io_uring_register: %w", errno)
	}
	u.enter, u.enterFlags = uintptr(ring.offset), enterRegistered
	return nil
}

// put puts a file into the ring's own table.
func (u *uring) put(slot uint32, fd int) error {
	fds := int32(fd)
	update := struct {
		slot, _ uint32
		fds     uint64
	}{slot: slot, fds: uint64(uintptr(unsafe.Pointer(&fds)))}
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, u.fd, updateFiles, uintptr(unsafe.Pointer(&update)), 1, 0, 0)
	runtime.KeepAlive(&fds)
	if errno != 0 {
		return fmt.Errorf("io_uring_register: %w", errno)
	}
	return nil
}

// operations reports which operations the kernel has.
func (u *uring) operations() (has [uringOps]bool, err error) {
	probe := make([]byte, 16+8*uringOps) // struct io_uring_probe
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, u.fd, registerProbe, uintptr(unsafe.Pointer(&probe[0])), uringOps, 0, 0); errno != 0 {
		return has, fmt.Errorf("io_uring_register: %w", errno)
	}
	for op := range has {
		has[op] = probe[16+8*op+2]&1 != 0
	}
	return has, nil
}

// submitAll runs requests through an io_uring, one after the other, and waits for them.
func submitAll(setup uint32, requests []sqe) error {
	u, err := newURing(setup, 0)
	for i := 0; i < len(requests) && err == nil; i++ {
		err = u.submit(requests[i])
	}
	return err
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

func init() {
	// uring-flood N: does as flood does, by an io_uring.
	addChild("uring-flood", func(args []string) error {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		path := []byte("/nonexistent/flood\x00")
		defer runtime.KeepAlive(path)
		u, err := newURing(0, 0)
		for range n {
			if err != nil {
				return err
			}
			err = u.submit(sqe{opcode: 18, fd: unix.AT_FDCWD, addr: uint64(uintptr(unsafe.Pointer(&path[0])))})
			u.reap()
		}
		return err
	})
	// uring-direct LINK OTHER MODE: opens a file by a link, into the ring's own table, and may put another one in its place at once.
	addChild("uring-direct", func(args []string) error {
		link, other := append([]byte(args[0]), 0), append([]byte(args[1]), 0)
		open := func(path []byte, slot uint32) sqe {
			return sqe{opcode: 18, fd: unix.AT_FDCWD, addr: uint64(uintptr(unsafe.Pointer(&path[0]))), slot: slot}
		}
		var setup uint32
		if args[2] == "sqpoll" {
			setup = setupSQPoll
		}
		u, err := newURing(setup, 8)
		if err != nil {
			return err
		}
		switch args[2] {
		case "ring's choice":
			err = u.submit(open(link, ringsChoice))
		case "replaced":
			err = u.submit(open(link, 3), open(other, 3))
		case "replaced after a link":
			first := open(link, 3)
			first.flags = linked
			err = u.submit(first, sqe{}, open(other, 3))
		case "descriptor replaced":
			fd, dupErr := unix.Dup(0) // the next one
			if err = errors.Join(dupErr, unix.Close(fd)); err == nil {
				err = u.submit(open(link, 0), sqe{opcode: 19, fd: int32(fd)}, open(other, 0))
			}
		default:
			err = u.submit(open(link, 3))
		}
		runtime.KeepAlive([][]byte{link, other})
		return err
	})
}

// linkedFile makes a file in a directory, and a symbolic link to it, which an io_uring follows without another thread: it needs one where reading the
// link would change its time of access.
func linkedFile(t *testing.T, dir string) (link, file string) {
	t.Helper()
	link, file = filepath.Join(dir, "link"), filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	times := []unix.Timespec{unix.NsecToTimespec(time.Now().Add(time.Hour).UnixNano()), {}}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, link, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		t.Fatal(err)
	}
	return link, file
}

// A file that is opened by a symbolic link into the ring's own table is known by its own path, and though another one is put in its place before
// the request completes.
func TestUringDirect(t *testing.T) {
	w := start(t, func(ev *event.Event) bool { return ev.Type == field.EventOpenat }, field.EventOpenat)
	for _, mode := range []string{"inline", "sqpoll", "ring's choice", "replaced", "replaced after a link", "descriptor replaced"} {
		t.Run(mode, func(t *testing.T) {
			tmp := t.TempDir()
			link, file := linkedFile(t, tmp)
			other := filepath.Join(tmp, "other")
			if err := os.WriteFile(other, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			play := func() *event.Event {
				pid := run(t, child(t, "uring-direct", link, other, mode))
				return w.find(t, "openat", func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Open.Path.Raw == link })
			}
			open := play()
			for try := 0; open.Flags&event.NoResult != 0 && try < 20; try++ { // the machine is busy: it took 100 ms
				open = play()
			}
			if open.Open.Path.Resolved != file || open.Result < 0 {
				t.Errorf("got %+v = %d, flags %x, want %s", open.Open, open.Result, open.Flags, file)
			}
		})
	}
}

func init() {
	// uring-silent LINK MODE: opens a file by a link without a completion, and closes it.
	addChild("uring-silent", func(args []string) error {
		link, mode := append([]byte(args[0]), 0), args[1]
		var setup uint32
		if mode == "sqpoll" {
			setup = setupSQPoll
		}
		u, err := newURing(setup, 8)
		if err != nil {
			return err
		}
		fd, err := unix.Dup(0) // the next one
		if err != nil {
			return err
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
		open := sqe{opcode: 18, flags: cqeSkipSuccess, fd: unix.AT_FDCWD, addr: uint64(uintptr(unsafe.Pointer(&link[0])))}
		requests := []sqe{open}
		switch mode {
		case "registered ring":
			err = u.register()
		case "direct":
			requests[0].slot = 3
		case "by another thread":
			requests[0].flags |= async
		case "closed by a link":
			requests[0].flags |= linked
			requests = append(requests, sqe{opcode: 19, flags: cqeSkipSuccess, fd: int32(fd)})
		}
		err = errors.Join(err, u.submit(requests...))
		if mode == "direct" || mode == "closed by a link" {
			return err
		}
		opened := func() bool {
			_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			return err == nil
		}
		for end := time.Now().Add(waitTime); !opened() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if mode == "sqpoll" || mode == "by another thread" {
			time.Sleep(50 * time.Millisecond) // on backend T what that thread has opened is looked at a moment later
		}
		runtime.KeepAlive(link)
		return errors.Join(err, unix.Close(fd))
	})
}

// A file that is opened by a symbolic link without a completion is known by its own path. On backend T it is not if the next request that is linked to
// the open closes it, nor, before Linux 6.10, if another thread opens it.
func TestUringSilent(t *testing.T) {
	testUringSilent(t, start(t, func(ev *event.Event) bool { return ev.Type == field.EventOpenat }, field.EventOpenat))
}

// The same where io_uring_enter, at whose end the programs look for such opens, is an event that somebody wants.
func TestUringSilentEnter(t *testing.T) {
	types := []field.EventType{field.EventOpenat, field.EventIoUringEnter}
	set := field.NewEventSet(types...)
	w := start(t, func(ev *event.Event) bool { return set.Has(ev.Type) }, types...)
	pid := testUringSilent(t, w)
	w.find(t, "io_uring_enter", func(ev *event.Event) bool {
		return ev.Task.PID == pid && ev.Type == field.EventIoUringEnter && ev.Num[1] > 0 && ev.Result == int64(ev.Num[1]) // all submitted
	})
}

// testUringSilent returns the last of its children. They are in a cgroup of their own: both records of a request have it, so that they keep their order
// where cgroups take turns.
func testUringSilent(t *testing.T, w *watch) (pid uint32) {
	t.Helper()
	cgroup, id := testCgroup(t, "uring-silent")
	modes := []string{"inline", "registered ring", "direct"}
	if w.Backend() == BackendL || atLeast(t, 6, 10) {
		modes = append(modes, "sqpoll", "by another thread")
	}
	if w.Backend() == BackendL {
		modes = append(modes, "closed by a link")
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			tmp := t.TempDir()
			link, file := linkedFile(t, tmp)
			play := func() *event.Event {
				pid = run(t, child(t, "in", cgroup, "uring-silent", link, mode))
				return w.find(t, "openat", func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Open.Path.Raw == link })
			}
			open := play()
			for try := 0; open.Flags&event.NoResult != 0 && try < 20; try++ { // the machine is busy: it took 100 ms
				open = play()
			}
			if open.Open.Path.Resolved != file || open.Result < 0 || open.Flags&event.NoResult != 0 {
				t.Errorf("got %+v = %d, flags %x, want %s", open.Open, open.Result, open.Flags, file)
			}
			if of, done := decode.CgroupOf(open.Raw), decode.CgroupOf(open.Completion); of != id || done != id {
				t.Errorf("the records are of cgroups %d and %d, want %d", of, done, id)
			}
		})
	}
	return pid
}

// atLeast reports whether the kernel that runs is of that version or a later one.
func atLeast(t *testing.T, major, minor int) bool {
	t.Helper()
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	gotMajor, gotMinor, ok := parseRelease(unix.ByteSliceToString(uts.Release[:]))
	if !ok {
		t.Fatalf("release %q", uts.Release)
	}
	return gotMajor > major || gotMajor == major && gotMinor >= minor
}

func init() {
	// uring-used FILE: cuts a file and copies a descriptor, both of the ring's own table too. It prints the operations that the kernel has.
	addChild("uring-used", func(args []string) error {
		path := append([]byte(args[0]), 0)
		fd, err := unix.Open(args[0], unix.O_RDWR|unix.O_CREAT, 0o600)
		if err != nil {
			return err
		}
		u, err := newURing(0, 2)
		if err != nil {
			return err
		}
		has, err := u.operations()
		if err != nil {
			return err
		}
		err = u.submit(sqe{opcode: 18, fd: unix.AT_FDCWD, addr: uint64(uintptr(unsafe.Pointer(&path[0]))), opFlags: unix.O_RDWR, slot: 1})
		for _, r := range []sqe{
			{opcode: 55, fd: int32(fd), off: 10},
			{opcode: 55, flags: fixedFile, off: 20},
			{opcode: 55, flags: cqeSkipSuccess, fd: int32(fd), off: 30},
			{opcode: 54, flags: fixedFile},
		} {
			if !has[r.opcode] {
				fmt.Println("without", r.opcode)
				continue
			}
			err = errors.Join(err, u.submit(r))
		}
		var st unix.Stat_t // a request that has not begun when its process ends is cancelled
		for end := time.Now().Add(waitTime); has[55] && unix.Fstat(fd, &st) == nil && st.Size != 30 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		runtime.KeepAlive(path)
		return err
	})
}

// Requests about a file that is open name it, be it a descriptor's or the ring's own.
func TestUringUsed(t *testing.T) {
	ftruncate, dup := generic("ftruncate"), field.EventDup
	w := start(t, func(ev *event.Event) bool { return ev.Type == ftruncate || ev.Type == dup }, ftruncate, dup)
	file := filepath.Join(t.TempDir(), "used")
	cmd := child(t, "uring-used", file)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pid := uint32(cmd.Process.Pid)
	for _, want := range []struct {
		typ    field.EventType
		length uint64
		op     int
		since  int // Linux 6.
	}{{ftruncate, 10, 55, 9}, {ftruncate, 20, 55, 9}, {ftruncate, 30, 55, 9}, {dup, 0, 54, 8}} {
		if strings.Contains(string(out), fmt.Sprint("without ", want.op)) {
			if atLeast(t, 6, want.since) {
				t.Errorf("this kernel has no operation %d, as Linux 6.%d has", want.op, want.since)
			}
			continue
		}
		ev := w.find(t, want.typ.String(), func(ev *event.Event) bool {
			return ev.Task.PID == pid && ev.Type == want.typ && ev.Num[1] == want.length
		})
		if ev.Open.Path.Resolved != file || ev.Open.Ino == 0 || ev.Result < 0 {
			t.Errorf("%v %d: got %+v = %d, want %s", want.typ, want.length, ev.Open, ev.Result, file)
		}
	}
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
				unknown := open.Flags&event.NoResult != 0 // another thread makes the file: backend T may come too early
				if unknown && w.Backend() == BackendL || !unknown && open.Result < 0 {
					t.Errorf("openat without a completion, backend %s: got result %d, flags %x", w.Backend(), open.Result, open.Flags)
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
