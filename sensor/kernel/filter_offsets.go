package kernel

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/tiercel-project/tiercel/sensor/filter"
)

// filterOffsets looks up in the kernel's type information where it keeps what the programs of a filter read.
func filterOffsets(kernel *btf.Spec) (filter.Offsets, error) {
	var o filter.Offsets
	for _, m := range []struct {
		in, member string
		to         *int16
		optional   bool
	}{
		{"task_struct", "cred", &o.TaskCred, false},
		{"task_struct", "pid", &o.TaskPID, false},
		{"task_struct", "tgid", &o.TaskTGID, false},
		{"task_struct", "group_leader", &o.TaskGroupLeader, false},
		{"task_struct", "loginuid", &o.TaskLoginUID, true},
		{"task_struct", "cgroups", &o.TaskCgroups, false},
		{"cred", "euid", &o.CredEUID, false},
		{"cred", "egid", &o.CredEGID, false},
		{"css_set", "dfl_cgrp", &o.CSSSetDefault, false},
		{"css_set", "subsys", &o.CSSSetSubsys, false},
		{"cgroup_subsys_state", "cgroup", &o.CSSCgroup, false},
		{"cgroup", "kn", &o.CgroupKN, false},
		{"cgroup", "root", &o.CgroupRoot, false},
		{"cgroup", "level", &o.CgroupLevel, false},
		{"kernfs_node", "id", &o.KernfsID, false},
		{"cgroup_root", "hierarchy_id", &o.RootHierarchy, false},
	} {
		var t *btf.Struct
		if err := kernel.TypeByName(m.in, &t); err != nil {
			return o, fmt.Errorf("find struct %s: %w", m.in, err)
		}
		n, ok := memberOffset(t.Members, m.member, 0)
		switch {
		case ok:
			*m.to = int16(n)
		case m.optional:
			*m.to = -1
		default:
			return o, fmt.Errorf("struct %s has no %s", m.in, m.member)
		}
	}
	return o, findCast(kernel, &o)
}

// findCast looks up what makes a pointer one that is read only, where the kernel has that.
func findCast(kernel *btf.Spec, o *filter.Offsets) error {
	var cast *btf.Func
	err := kernel.TypeByName("bpf_rdonly_cast", &cast)
	if errors.Is(err, btf.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find bpf_rdonly_cast: %w", err)
	}
	var task *btf.Struct
	if err := kernel.TypeByName("task_struct", &task); err != nil {
		return fmt.Errorf("find struct task_struct: %w", err)
	}
	for _, t := range []struct {
		of btf.Type
		to *int32
	}{{cast, &o.Cast}, {task, &o.TaskType}} {
		id, err := kernel.TypeID(t.of)
		if err != nil {
			return fmt.Errorf("number of type %v: %w", t.of, err)
		}
		*t.to = int32(id)
	}
	return nil
}

// memberOffset finds a member by its name, also in structures and unions without one.
func memberOffset(members []btf.Member, name string, base uint32) (uint32, bool) {
	for _, m := range members {
		if m.Name == name {
			return base + m.Offset.Bytes(), true
		}
		if m.Name != "" {
			continue
		}
		var inner []btf.Member
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			inner = t.Members
		case *btf.Union:
			inner = t.Members
		}
		if n, ok := memberOffset(inner, name, base+m.Offset.Bytes()); ok {
			return n, true
		}
	}
	return 0, false
}
