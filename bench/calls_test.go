//go:build bench

package bench

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// calls are what a caller times: system calls on a file, or on none.
var calls = map[string]func(file *byte) func(){
	"getppid":     func(*byte) func() { return func() { unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0) } },
	"read":        opens(unix.O_RDONLY),
	"directory":   opens(unix.O_RDONLY | unix.O_DIRECTORY),
	"write":       opens(unix.O_WRONLY),
	"create":      opens(unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC),
	"make+remove": makeRemove,
	"absent":      opens(unix.O_RDONLY),
	"read1":       read1,
	"ring":        enterRing,
}

const atFDCWD = ^uintptr(99) // AT_FDCWD

// opens opens the file, and closes what it got.
func opens(flags uintptr) func(file *byte) func() {
	return func(file *byte) func() {
		p := uintptr(unsafe.Pointer(file))
		return func() {
			if fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, atFDCWD, p, flags, 0o600, 0, 0); errno == 0 {
				unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
			}
		}
	}
}

// makeRemove makes the file, closes it and removes it.
func makeRemove(file *byte) func() {
	p := uintptr(unsafe.Pointer(file))
	make := opens(unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL)(file)
	return func() {
		make()
		unix.RawSyscall(unix.SYS_UNLINKAT, atFDCWD, p, 0)
	}
}

// enterRing enters the kernel for an io_uring, which it makes, with nothing to do.
func enterRing(*byte) func() {
	var params [120]byte // struct io_uring_params
	fd, _, errno := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 8, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		panic(errno)
	}
	return func() { unix.RawSyscall6(unix.SYS_IO_URING_ENTER, fd, 0, 0, 0, 0, 0) }
}

// read1 reads a byte of the file, which it opens once.
func read1(file *byte) func() {
	p := uintptr(unsafe.Pointer(file))
	fd, _, _ := unix.RawSyscall6(unix.SYS_OPENAT, atFDCWD, p, unix.O_RDONLY, 0, 0, 0)
	var b [1]byte
	return func() { unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&b[0])), 1) }
}
