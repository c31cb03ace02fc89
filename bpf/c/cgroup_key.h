// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A task's cgroup: the v2 one, or where the task is in the root of v2 (hosts that run on v1), that of one v1 controller.
#pragma once
#include "maps.h"
#include "read.h"

// Index of the v1 controller in css_set.subsys; -1: none.
const volatile __s32 v1_controller = -1;

static __always_inline __u64 cgroup_of(struct task_struct *t)
{
	__u64 css_set = (__u64)read_only(t)->cgroups;
	__u64 c = (__u64)KREAD(struct css_set, css_set, dfl_cgrp);
	if (v1_controller < 0 || v1_controller > 31 || KREAD(struct cgroup, c, level))
		return c;
	__u64 css = 0;
	bpf_probe_read_kernel(&css, sizeof(css), KADDR(struct css_set, css_set, subsys) + 8 * v1_controller);
	if (!css)
		return c;
	__u64 v1 = (__u64)KREAD(struct cgroup_subsys_state, css, cgroup);
	return v1 ? v1 : c;
}

static __always_inline void cgroup_key_of(__u64 c, struct cgroup_key *k)
{
	__u64 kn = (__u64)KREAD(struct cgroup, c, kn);
	__u64 root = (__u64)KREAD(struct cgroup, c, root);
	k->id = KREAD(struct kernfs_node, kn, id);
	k->hierarchy = KREAD(struct cgroup_root, root, hierarchy_id);
	k->pad = 0;
}
