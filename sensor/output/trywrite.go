package output

import (
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A TryWriter takes as much of p as there is room for now, without waiting, and returns how much that is.
type TryWriter interface{ TryWrite(p []byte) int }

// TryWrite writes to w as much of p as there is room for now and returns how much that is: 0 too if w cannot tell, or if something is wrong
// with it, which the next Write says. It never waits: w is a TryWriter, or a file whose kind of file the kernel writes to under RWF_NOWAIT
// (pipes since Linux 6.4, sockets since 4.13).
func TryWrite(w io.Writer, p []byte) int {
	switch w := w.(type) {
	case TryWriter:
		return w.TryWrite(p)
	case *os.File:
		return tryWriteFile(w, p)
	}
	return 0
}

// pipeBuf is how many bytes a pipe takes whole or not at all (PIPE_BUF), and a unix socket too: another writer's line never comes in between.
const pipeBuf = 4096

// tryWriteFile leaves the file's flags alone: O_NONBLOCK would hold for everybody who shares the open file, a shell for one.
func tryWriteFile(f *os.File, p []byte) (n int) {
	if len(p) == 0 || len(p) > pipeBuf {
		return 0
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return 0
	}
	_ = conn.Control(func(fd uintptr) {
		iov := unix.Iovec{Base: &p[0]}
		iov.SetLen(len(p))
		const atEnd = ^uintptr(0) // the offset: where the file is
		// Raw, for it does not wait: the runtime's monitor wakes up for any other.
		r, _, errno := unix.RawSyscall6(unix.SYS_PWRITEV2, fd, uintptr(unsafe.Pointer(&iov)), 1, atEnd, atEnd, unix.RWF_NOWAIT)
		if errno == 0 {
			n = int(r)
		}
	})
	return n
}

// trySend sends to a socket as much of p as there is room for now and returns how much that is; of a datagram all or nothing. It never waits.
func trySend(c syscall.Conn, p []byte) (n int) {
	onSocket(c, func(fd uintptr) {
		r, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno == 0 {
			n = int(r)
		}
	})
	return n
}

// silent reports whether a connection stands and nothing has come that was not read.
func silent(c syscall.Conn) (is bool) {
	var b [1]byte
	onSocket(c, func(fd uintptr) {
		_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_PEEK, 0, 0)
		is = errno == unix.EAGAIN
	})
	return is
}

func onSocket(c syscall.Conn, f func(fd uintptr)) {
	if conn, err := c.SyscallConn(); err == nil {
		_ = conn.Control(f)
	}
}
