//go:build ignore

// Ia32 makes a few calls through the 32-bit ABI: it is built with GOARCH=386.
package main

import (
	"os"
	"syscall"
	"unsafe"
)

func main() {
	dir := os.Args[1]
	p, err := syscall.BytePtrFromString(dir + "/thirty-two")
	if err != nil {
		panic(err)
	}
	atCwd := -100
	_, _, errno := syscall.Syscall6(syscall.SYS_OPENAT, uintptr(atCwd), uintptr(unsafe.Pointer(p)), syscall.O_CREAT|syscall.O_WRONLY, 0o640, 0, 0)
	if errno != 0 {
		panic(errno)
	}
	// Through socketcall, as net does on 386.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		panic(err)
	}
	_ = syscall.Connect(fd, &syscall.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 7}})
	if err := syscall.Unlink(dir + "/thirty-two"); err != nil {
		panic(err)
	}
	_ = syscall.Exec("/nonexistent/program", []string{"a0", "a1"}, nil)
}
