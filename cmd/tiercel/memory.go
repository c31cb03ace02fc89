package main

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// limitMemory has the heap keep below the memory limit of this process's cgroup, less its BPF maps, with a tenth left for what is no heap: a
// garbage collection comes before the kernel's killer. GOMEMLIMIT wins. Processors are the Go runtime's own business: it reads the cgroup's quota itself.
func limitMemory() {
	if limit := cgroupMemory("/proc/self/cgroup", "/sys/fs/cgroup"); limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(heapLimit(limit, bpfMemory("/proc/self/fdinfo")))
	}
}

// heapLimit is what of a cgroup's limit is left to the heap, with bpf bytes of BPF maps, which count there too: nine tenths of the rest, and a
// quarter of all at least.
func heapLimit(limit, bpf int64) int64 { return max((limit-bpf)/10*9, limit/4) }

// bpfMemory is how much memory the BPF maps take that this process holds, in bytes, as the directory fdinfo of proc has it.
func bpfMemory(fdinfo string) int64 {
	files, err := os.ReadDir(fdinfo)
	if err != nil {
		return 0
	}
	maps := map[string]int64{} // by id: the same map may be held twice
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(fdinfo, f.Name()))
		if err != nil {
			continue
		}
		var id string
		var bytes int64
		for line := range strings.Lines(string(b)) {
			key, value, _ := strings.Cut(line, ":")
			switch value = strings.TrimSpace(value); key {
			case "map_id":
				id = value
			case "memlock":
				bytes, _ = strconv.ParseInt(value, 10, 64)
			}
		}
		if id != "" {
			maps[id] = bytes
		}
	}
	var sum int64
	for _, n := range maps {
		sum += n
	}
	return sum
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
