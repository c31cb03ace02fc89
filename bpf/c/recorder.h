// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The flight recorder: what no rule can match, but is kept for a while. A filter program that drops an event jumps to call_record where the
// call's layout says that the recorder wants it, and so does the dispatcher for calls that no rule asks for.
#pragma once
#include "open.h"
#include "socket.h"

// How many events of a cgroup a second leave for the recorder alone.
const volatile __u64 record_rate = 200;

// enter_record_rate counts an event of the cgroup that runs, and reports whether it is within the rate.
static __always_inline bool enter_record_rate(struct task_struct *t)
{
	struct cgroup_key k;
	cgroup_key_of(cgroup_of(t), &k);
	struct cgroup_state *g = bpf_map_lookup_elem(&cgroups, &k);
	if (!g)
		return true; // its first event
	__u64 second = bpf_ktime_get_boot_ns() / 1000000000;
	if (g->second != second) {
		g->second = second;
		g->recorded = 0;
	}
	return __sync_fetch_and_add(&g->recorded, 1) < record_rate;
}

// within_record_rate is enter_record_rate, and counts those that are not.
static __always_inline bool within_record_rate(struct task_struct *t)
{
	struct call *c = current_call();
	if (!c)
		return false;
	if (is_limited(c, t))
		return false;
	if (enter_record_rate(t))
		return true;
	c->limit.cgroups = (__u64)t->cgroups;
	c->limit.tick = bpf_jiffies64(); // 5.5
	c->limit.events++;
	return false;
}

// worth_recording: of opens those that made a file, of other calls with a path those that succeeded.
static __always_inline bool worth_recording(struct call *c, struct task_struct *t)
{
	if (c->l.program == CALL_OPEN) {
		__u64 f = c->verdict & VERDICT_CAPTURED ? c->file : c->result >= 0 ? file_of(t, c->result) : 0;
		return f && KREAD(struct file, f, f_mode) & FMODE_CREATED;
	}
	return !c->l.path || c->result >= 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(call_record, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	struct task_struct *t = bpf_get_current_task_btf();
	if (!c || !worth_recording(c, t) || !within_record_rate(t))
		return 0;
	__u32 next = c->l.program;
	if (c->verdict & VERDICT_CAPTURED)
		next = next == CALL_OPEN ? CALL_OPEN_EMIT : next == CALL_SOCKET ? CALL_SOCKET_EMIT : CALL_GENERIC_EMIT;
	c->verdict = VERDICT_DROP | VERDICT_RECORD;
	c->l.texts = 0;
	bpf_tail_call(ctx, &call_programs, next);
	return 0;
}
