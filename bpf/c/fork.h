// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#pragma once
#include "call.h"

// fork_type is the event type of the call that is making a task; 0 for none of them.
static __always_inline __u16 fork_type(struct task_struct *t)
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(t); // 5.15
	__u32 i = call_index(call_number(regs), t);
	struct call_layout *l = bpf_map_lookup_elem(&call_layouts, &i);
	return l ? l->type : 0;
}

SEC("tp_btf/task_newtask")
int BPF_PROG(process_fork, struct task_struct *child, unsigned long clone_flags)
{
	if (clone_flags & CLONE_THREAD)
		return 0;
	struct scratch *s = scratch_of(SLOT_PROCESS);
	if (!s) {
		count_loss(RING_PROCESS, LOSS_SCRATCH);
		return 0;
	}
	struct task_struct *t = bpf_get_current_task_btf();
	struct head *h = begin(s, SLOT_PROCESS, KIND_FORK, fork_type(t), child->pid);
	struct process *p = bpf_task_storage_get(&processes, child, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (p)
		__builtin_memcpy(p->comm, h->comm, sizeof(p->comm));
	struct cgroup_key k;
	cgroup_key_of(cgroup_of(child), &k);
	struct fork_info x = {
		.start = child->start_boottime,
		.cgroup = k.id,
		.clone_flags = clone_flags,
		.tid = child->pid,
		.pid = child->tgid,
	};
	__u64 pid = (__u64)child->thread_pid;
	if (pid)
		x.vtid = x.vpid = pid_number(pid, KREAD(struct pid, pid, level));
	submit(RING_PROCESS, SLOT_PROCESS, put_struct(s, sizeof(*h), TAG_FORK, x), wakes(KIND_FORK));
	return 0;
}
