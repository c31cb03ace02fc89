package kernel

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/sensor/host"
)

// A v1Controller names the cgroup v1 hierarchy whose paths stand in for v2's, where a task is in the root of v2.
type v1Controller struct {
	index     int32 // in css_set.subsys; -1: none
	hierarchy int32
}

// findV1Controller picks a controller that is mounted as v1. Container runtimes put a container into all of them.
func findV1Controller(spec *btf.Spec) v1Controller {
	none := v1Controller{index: -1}
	f, err := os.Open("/proc/cgroups")
	if err != nil {
		return none
	}
	defer f.Close()
	hierarchies := parseCgroups(f)
	var enum *btf.Enum
	if spec.TypeByName("cgroup_subsys_id", &enum) != nil {
		return none
	}
	for _, name := range []string{"pids", "memory", "cpu", "devices", "freezer"} {
		if hierarchies[name] == 0 {
			continue
		}
		for _, v := range enum.Values {
			if v.Name == name+"_cgrp_id" {
				return v1Controller{int32(v.Value), hierarchies[name]}
			}
		}
	}
	return none
}

// parseCgroups reads /proc/cgroups: the v1 hierarchy of each controller, 0 if it belongs to v2 or to nothing.
func parseCgroups(r io.Reader) map[string]int32 {
	m := map[string]int32{}
	for sc := bufio.NewScanner(r); sc.Scan(); {
		f := strings.Fields(sc.Text())
		if len(f) < 4 || f[3] != "1" {
			continue
		}
		if n, err := strconv.ParseInt(f[1], 10, 32); err == nil {
			m[f[0]] = int32(n)
		}
	}
	return m
}

// FindCgroup2 returns where the root of the cgroup v2 hierarchy is mounted. The mount that a container has is of its own cgroup alone: programs
// attached there see no other. The host's, below root, stand in for it.
func FindCgroup2(root host.Root) (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	places := parseMountinfo(f)
	if !root.Here() {
		places = append(places, root.Path("/sys/fs/cgroup"), root.Path("/sys/fs/cgroup/unified"))
	}
	for _, p := range places {
		if isCgroup2Root(p) {
			return p, nil
		}
	}
	if len(places) == 0 {
		return "", fmt.Errorf("no cgroup2 mount: %w", os.ErrNotExist)
	}
	return "", fmt.Errorf("no mount of the root of cgroup2, looked at %s: %w", strings.Join(places, ", "), os.ErrNotExist)
}

// isCgroup2Root reports whether dir is the root of the hierarchy: its inode is the first of the file system (kernfs_create_root).
func isCgroup2Root(dir string) bool {
	var fs unix.Statfs_t
	var st unix.Stat_t
	return unix.Statfs(dir, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC && unix.Stat(dir, &st) == nil && st.Ino == 1
}

// parseMountinfo returns where cgroup2 is mounted.
func parseMountinfo(r io.Reader) []string {
	var places []string
	for sc := bufio.NewScanner(r); sc.Scan(); {
		before, after, ok := strings.Cut(sc.Text(), " - ")
		if !ok || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		if f := strings.Fields(before); len(f) > 4 {
			places = append(places, f[4])
		}
	}
	return places
}
