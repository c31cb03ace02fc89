// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What was there when the sensor opened: the same records, each after its length, through an iterator.
#pragma once
#include "call.h"

static __always_inline void write_record(struct seq_file *seq, struct scratch *s, __u32 n)
{
	__u32 len = n;
	if (!n || n > RECORD_MAX)
		return;
	bpf_seq_write(seq, &len, sizeof(len)); // 5.7
	bpf_seq_write(seq, s->b, n);
}

// write_cgroup writes the cgroup of each task, not just of the first one in it: where the buffer is full, the kernel drops what was written
// for a task and calls the program again.
static __always_inline void write_cgroup(struct seq_file *seq, struct scratch *s, struct task_struct *t, struct cgroup_key *k)
{
	struct walk_buffer *w = walk_of(SLOT_ITERATOR);
	__u64 c = cgroup_of(t);
	cgroup_key_of(c, k);
	if (!w)
		return;
	w->dentry = c;
	write_record(seq, s, cgroup_record(SLOT_ITERATOR));
	first_sight(k);
}

SEC("iter/task") // 5.8
int snapshot_task(struct bpf_iter__task *ctx)
{
	struct task_struct *t = ctx->task;
	struct seq_file *seq = ctx->meta->seq;
	struct scratch *s = scratch_of(SLOT_ITERATOR);
	struct cgroup_key k;
	if (!t || !s || t->pid != t->tgid)
		return 0;
	write_cgroup(seq, s, t, &k);
	struct head *h = (void *)s->b;
	fill_head(h, t, KIND_TASK, 0, 0);
	h->cgroup = k.id;
	if (k.hierarchy)
		h->flags |= HEAD_CGROUP_V1;
	fill_name(h, t, true);
	__u32 o = sizeof(*h);
	__u64 mm = (__u64)t->mm, file = mm ? (__u64)KREAD(struct mm_struct, mm, exe_file) : 0;
	if (file) {
		struct exec_info x = {};
		fill_exec(&x, t, file);
		o = put_struct(s, o, TAG_EXEC, x);
		o = put_file_path(SLOT_ITERATOR, o, TAG_EXE_PATH, t, file);
		o = put_cwd(SLOT_ITERATOR, o, TAG_CWD, t);
	}
	write_record(seq, s, o);
	return 0;
}

// Enters the process that runs it into the table of those whose calls are no events.
SEC("syscall") // 5.14
int exempt_self(void *ctx)
{
	struct task_struct *t = bpf_get_current_task_btf();
	for (int i = 0; i < SELVES; i++) {
		if (selves[i].pid)
			continue;
		selves[i].start = t->group_leader->start_boottime;
		selves[i].exec = t->self_exec_id;
		selves[i].pid = t->tgid;
		return 0;
	}
	return 1;
}
