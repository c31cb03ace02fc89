package main

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
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

// noHeapProfile ends the sampling of allocations, whose result nothing here shows: it keeps tables and walks stacks.
func noHeapProfile() { runtime.MemProfileRate = 0 }

// sensorGC is how much garbage a process that is a sensor alone lets pile up, in percent of what is alive.
const sensorGC = 50

// paceHeap has garbage collected earlier than Go would. GOGC wins.
func paceHeap() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(sensorGC)
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
