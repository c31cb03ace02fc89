// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The life of processes. These records always leave the kernel: the process table lives on them. Whether a rule may match one is decided by
// a filter program all the same, from what is in the record: what none can match wakes nobody, and user space does not compare it.
#pragma once
#include "call.h"

// The filters of each kind, by event type; at PROCESS_EMIT what sends the record. Programs of different tracepoints do not fit into one table.
#define PROCESS_EMIT 0

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, FILTER_TYPES);
	__type(key, __u32);
	__type(value, __u32);
} exec_programs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, FILTER_TYPES);
	__type(key, __u32);
	__type(value, __u32);
} fork_programs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, FILTER_TYPES);
	__type(key, __u32);
	__type(value, __u32);
} exit_programs SEC(".maps");

static __always_inline struct call *process_call(void)
{
	__u32 i = CURRENT_PROCESS;
	return bpf_map_lookup_elem(&current_calls, &i);
}

// judge notes for a filter program what stands in the slot's scratch: a record of n bytes. It returns the record's event type.
static __always_inline __u32 judge(struct scratch *s, __u32 n)
{
	struct head *h = (void *)s->b;
	struct call *c = process_call();
	if (!c)
		return 0;
	c->result = h->result;
	c->verdict = 0;
	c->end = n;
	return h->type;
}

// emit_process sends the record that the filter has looked at.
static __always_inline int emit_process(enum kind kind)
{
	struct call *c = process_call();
	struct scratch *s = scratch_of(SLOT_PROCESS);
	if (!c || !s) {
		count_loss(RING_PROCESS, LOSS_SCRATCH);
		return 0;
	}
	bool dropped = c->verdict & VERDICT_DROP;
	if (dropped)
		set_flag(s, c->verdict & VERDICT_EMIT ? HEAD_DROPPED : HEAD_DROPPED | HEAD_RECORDED);
	else if (c->verdict & VERDICT_BROAD)
		set_flag(s, HEAD_BROAD);
	enum wake wake = WAKE_IDLE;
	if (!dropped && wakes(kind))
		wake = c->verdict & VERDICT_LIKELY ? WAKE_ANY : WAKE_WAITS;
	submit(RING_PROCESS, SLOT_PROCESS, c->end, wake);
	return 0;
}

// note_text notes for a filter program the section that stands between two offsets; none is an empty text.
static __always_inline void note_text(struct call *c, enum exec_text_index i, __u32 from, __u32 to)
{
	c->exec[i].at = from + sizeof(struct section);
	c->exec[i].len = from == to ? 0 : to - from - sizeof(struct section);
}

// split_args parts what was noted as arguments into argv[0] and the rest. The first NUL is looked for in EXE_MAX bytes.
#define EXE_MAX 256
static __always_inline void split_args(struct call *c, struct scratch *s)
{
	struct exec_text *exe = &c->exec[EXEC_EXE], *args = &c->exec[EXEC_ARGS];
	__u32 at = args->at, len = args->len, n = 0;
	*exe = *args;
	if (!len || len == TEXT_UNKNOWN)
		return;
	args->len = exe->len = TEXT_UNKNOWN;
	if (at > RECORD_MAX)
		return;
	for (; n < EXE_MAX; n += 8) {
		__u64 zero = zero_bytes(word_at(&s->b[at + n]));
		if (zero) {
			n += lowest_byte(zero);
			break;
		}
	}
	if (n >= EXE_MAX)
		return;
	if (n >= len) { // no NUL in it
		exe->len = len;
		args->len = 0;
		return;
	}
	exe->len = n;
	args->at = at + n + 1;
	args->len = len - n - 1;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *t, int old_pid, struct linux_binprm *bprm)
{
	struct scratch *s = scratch_of(SLOT_PROCESS);
	if (!s) {
		count_loss(RING_PROCESS, LOSS_SCRATCH);
		return 0;
	}
	struct process *p = bpf_task_storage_get(&processes, t, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (p)
		bpf_probe_read_kernel(p->comm, sizeof(p->comm), &t->comm);
	begin(s, SLOT_PROCESS, KIND_EXEC, type_exec, 0);
	struct exec_info x = {};
	__u64 file = (__u64)t->mm->exe_file;
	fill_exec(&x, t, file);
	__u32 o = put_struct(s, sizeof(struct head), TAG_EXEC, x);
	struct call *c = process_call();
	if (!c) {
		count_loss(RING_PROCESS, LOSS_SCRATCH);
		return 0;
	}
	__u32 from = o;
	o = put_file_path(SLOT_PROCESS, o, TAG_EXE_PATH, t, file);
	note_text(c, EXEC_EXE_PATH, from, o);
	from = o;
	o = put_cwd(SLOT_PROCESS, o, TAG_CWD, t);
	note_text(c, EXEC_CWD, from, o);
	from = o;
	o = put_strings(s, SLOT_PROCESS, o, TAG_ARGS, t->mm->arg_start, t->mm->arg_end, HEAD_ARGS_TRUNCATED);
	note_text(c, EXEC_ARGS, from, o);
	from = o;
	o = put_strings(s, SLOT_PROCESS, o, TAG_ENV, t->mm->env_start, t->mm->env_end, HEAD_ENV_TRUNCATED);
	note_text(c, EXEC_ENV, from, o);
	split_args(c, s);
	__u32 flags = ((struct head *)s->b)->flags;
	if (flags & (HEAD_PATH_TRUNCATED | HEAD_UNSTABLE))
		c->exec[EXEC_EXE_PATH].len = c->exec[EXEC_CWD].len = TEXT_UNKNOWN;
	if (flags & (HEAD_ARGS_TRUNCATED | HEAD_UNSTABLE))
		c->exec[EXEC_ARGS].len = TEXT_UNKNOWN;
	if (flags & HEAD_UNSTABLE)
		c->exec[EXEC_EXE].len = TEXT_UNKNOWN;
	if (flags & (HEAD_ENV_TRUNCATED | HEAD_UNSTABLE))
		c->exec[EXEC_ENV].len = TEXT_UNKNOWN;
	o = put_kernel_string(SLOT_PROCESS, o, TAG_FILENAME, as_number((__u64)bprm->filename));
	__u32 type = judge(s, o);
	if (type)
		jump(ctx, &exec_programs, type_exec);
	jump(ctx, &exec_programs, PROCESS_EMIT);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec_emit, struct task_struct *t)
{
	return emit_process(KIND_EXEC);
}

// begin_brief makes the head of a brief record about the current task, without its name.
static __always_inline struct head *begin_brief(struct scratch *s, struct task_struct *t, enum kind kind, __u16 type, __s64 result)
{
	struct head *h = (void *)s->b;
	__builtin_memset(h, 0, sizeof(*h));
	h->kind = kind;
	h->type = type;
	h->flags = HEAD_DROPPED | HEAD_RECORDED | HEAD_BRIEF;
	h->generation = generation;
	h->cpu = bpf_get_smp_processor_id();
	fill_identity(h, t, result);
	return h;
}

static __always_inline void brief_exit(struct scratch *s, struct task_struct *t, struct process *p)
{
	struct head *h = begin_brief(s, t, KIND_EXIT, type_exit, t->exit_code);
	if (p)
		__builtin_memcpy(h->comm, p->comm, sizeof(h->comm));
	submit(RING_PROCESS, SLOT_PROCESS, sizeof(*h), WAKE_IDLE);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *t)
{
	if (t->signal->live.counter > 0)
		return 0; // other threads live on
	struct process *p = bpf_task_storage_get(&processes, t->group_leader, 0, 0);
	if (p && __sync_lock_test_and_set(&p->exited, 1))
		return 0; // the last two ended at once: the other one said so
	struct scratch *s = scratch_of(SLOT_PROCESS);
	if (!s) {
		count_loss(RING_PROCESS, LOSS_SCRATCH);
		return 0;
	}
	if (brief(KIND_EXIT)) {
		brief_exit(s, t, p);
		return 0;
	}
	begin(s, SLOT_PROCESS, KIND_EXIT, type_exit, t->exit_code);
	__u32 type = judge(s, sizeof(struct head));
	if (type)
		jump(ctx, &exit_programs, type_exit);
	jump(ctx, &exit_programs, PROCESS_EMIT);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit_emit, struct task_struct *t)
{
	return emit_process(KIND_EXIT);
}

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
	bool is_brief = brief(KIND_FORK) && !(clone_flags & CLONE_INTO_CGROUP);
	struct head *h;
	if (is_brief) {
		h = begin_brief(s, t, KIND_FORK, type_clone, child->pid);
		fill_numbers(h, t);
		fill_name(h, t, true);
	} else
		h = begin(s, SLOT_PROCESS, KIND_FORK, fork_type(t), child->pid);
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
	__u32 n = put_struct(s, sizeof(*h), TAG_FORK, x);
	if (is_brief) {
		h->cgroup = k.id; // the parent's too
		if (k.hierarchy)
			h->flags |= HEAD_CGROUP_V1;
		submit(RING_PROCESS, SLOT_PROCESS, n, WAKE_IDLE);
		return 0;
	}
	__u32 type = judge(s, n);
	if (type)
		bpf_tail_call(ctx, &fork_programs, type);
	jump(ctx, &fork_programs, PROCESS_EMIT);
	return 0;
}

SEC("tp_btf/task_newtask")
int BPF_PROG(process_fork_emit, struct task_struct *child, unsigned long clone_flags)
{
	return emit_process(KIND_FORK);
}
