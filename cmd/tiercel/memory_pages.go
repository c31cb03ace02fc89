package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dropProgram unmaps the pages of the program's own file that are in memory and have never been written: code and tables. What runs comes back
// from the page cache as it is used, where the kernel can do it page by page; what only the start needed, most of it, does not. smaps is the
// kernel's list of mappings.
func dropProgram(smaps string) error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	f, err := os.Open(smaps)
	if err != nil {
		return err
	}
	defer f.Close()
	single, err := newSinglePages()
	if err != nil {
		single = nil // a kernel before 6.7, or one that forbids it: neighbours are mapped too
	}
	var from, to uintptr
	ours, clean := false, true
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := sc.Text()
		var begin, end uintptr
		var perms string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &begin, &end, &perms); n == 3 {
			from, to, clean = begin, end, true
			ours = strings.HasSuffix(line, " "+exe) && len(perms) > 1 && perms[1] == '-'
			continue
		}
		key, rest, _ := strings.Cut(line, ":")
		switch key {
		case "Anonymous": // pages written once, by a linker for one, are not the file's any more
			clean = strings.TrimSpace(rest) == "0 kB"
		case "VmFlags": // the last line of a mapping
			if !ours || !clean {
				continue
			}
			_ = single.add(from, to)                    // refused, it costs memory only
			_ = madvise(from, to, unix.MADV_NOHUGEPAGE) // a kernel without huge pages refuses
			if err := madvise(from, to, unix.MADV_DONTNEED); err != nil {
				return err
			}
		}
	}
	return nil
}

func madvise(from, to uintptr, advice uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, advice); errno != 0 {
		return errno
	}
	return nil
}

// singlePages has the kernel map, of a file, the page that is touched and not the fifteen around it: it is a userfaultfd, for which neighbours
// would be pages that it has not heard of. It is asked to watch for writes and never to write-protect, so there is nothing to hear of.
type singlePages struct{ fd int }

// Of the kernel's linux/userfaultfd.h.
const (
	uffdUserModeOnly   = 1
	uffdAPI            = 0xaa
	uffdFeatureWPAsync = 1 << 15 // 6.7; 6.10 on arm64
	uffdModeWP         = 2
	uffdioAPI          = 0xc018aa3f
	uffdioRegister     = 0xc020aa00
)

// newSinglePages opens one. It stays open as long as the process lives: closed, it lets go of what was added.
func newSinglePages() (*singlePages, error) {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK|uffdUserModeOnly, 0, 0)
	if errno != 0 {
		return nil, errno
	}
	s := &singlePages{int(fd)}
	api := struct{ api, features, ioctls uint64 }{api: uffdAPI, features: uffdFeatureWPAsync}
	if err := s.ioctl(uffdioAPI, unsafe.Pointer(&api)); err != nil {
		_ = unix.Close(s.fd)
		return nil, err
	}
	return s, nil
}

// add has the mapping from..to be filled page by page. On a nil receiver it does nothing.
func (s *singlePages) add(from, to uintptr) error {
	if s == nil {
		return nil
	}
	reg := struct{ start, bytes, mode, ioctls uint64 }{start: uint64(from), bytes: uint64(to - from), mode: uffdModeWP}
	return s.ioctl(uffdioRegister, unsafe.Pointer(&reg))
}

func (s *singlePages) ioctl(op uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.fd), op, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
