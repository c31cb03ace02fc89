package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// limitMemory has the heap keep below the memory limit of this process's cgroup, with a tenth left for what is no heap: a garbage collection
// comes before the kernel's killer. GOMEMLIMIT wins. Processors are the Go runtime's own business: it reads the cgroup's quota itself.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if limit := cgroupMemory("/proc/self/cgroup", "/sys/fs/cgroup"); limit > 0 {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
}

// cgroupMemory returns the least memory limit of the cgroups above this process, in bytes; 0 if there is none. self and root are files of
// the kernel.
func cgroupMemory(self, root string) int64 {
	b, err := os.ReadFile(self)
	if err != nil {
		return 0
	}
	var least int64
	for line := range strings.Lines(string(b)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		dir, file := root, "memory.max"
		if controllers == "memory" {
			dir, file = filepath.Join(root, "memory"), "memory.limit_in_bytes"
		} else if controllers != "" {
			continue
		}
		for path = filepath.Clean("/" + path); ; path = filepath.Dir(path) {
			if n := readLimit(filepath.Join(dir, path, file)); n > 0 && (least == 0 || n < least) {
				least = n
			}
			if path == "/" {
				break
			}
		}
	}
	return least
}

// readLimit reads a limit; 0 if there is none. The kernel writes "max", or in version 1 a number beyond all memory.
func readLimit(name string) int64 {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n >= 1<<60 {
		return 0
	}
	return n
}

// dropProgram unmaps the pages of the program's own file that are in memory and have never been written: code and tables. What runs comes back
// from the page cache as it is used; what only the start needed, most of it, does not. smaps is the kernel's list of mappings.
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
			if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
				return errno
			}
		}
	}
	return nil
}
