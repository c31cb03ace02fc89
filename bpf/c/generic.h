// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// All other calls, by their layout: up to two paths, what a descriptor is, a string or the first bytes of a buffer, and the raw numbers.
#pragma once
#include "copied.h"
#include "enter.h"
#include "open.h"
#include "socket.h"

// put_descriptor appends what descriptor fd is: a socket, or a file with its path.
__noinline int put_descriptor(__u32 o, __s32 fd)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	struct task_struct *t = bpf_get_current_task_btf();
	__u64 f = file_of(t, fd);
	if (!c || !s || !f)
		return o;
	if (socket_of(t, fd)) {
		__builtin_memset(&c->m, 0, sizeof(c->m));
		return put_socket(o, fd, DESTINATIONS);
	}
	struct open_info x = {.fd = fd};
	fill_file(&x, f);
	o = put_struct(s, o, TAG_OPEN, x);
	return put_file_path(SLOT_CALL, o, TAG_RESOLVED, t, f);
}

// note_argument makes text i of the path argument whose sections stand from o to end.
static __always_inline void note_argument(__u32 i, __u32 o, __u32 end)
{
	struct scratch *s = scratch_of(SLOT_CALL);
	__u32 dir = end;
	if (s && o != end && o <= RECORD_MAX) {
		dir = o + sizeof(struct section) + section_at(s, o)->len;
	}
	text_of_section(i, o, dir, end);
}

// put_rest appends what is no path: the descriptor, and a string or the first bytes of a buffer.
static __always_inline __u32 put_rest(struct call *c, __u32 o)
{
	if (c->l.fd || c->l.flags & CALL_NEW_FD)
		o = put_descriptor(o, c->l.flags & CALL_NEW_FD ? (__s32)c->result : (__s32)arg(c, c->l.fd));
	if (c->l.data && c->l.size) {
		__u64 n = arg(c, c->l.size);
		if (c->l.flags & CALL_RECEIVES)
			n = c->result > 0 ? c->result : 0;
		return put_user_bytes(SLOT_CALL, o, TAG_DATA, arg(c, c->l.data), n > DATA_LEN ? DATA_LEN : n);
	}
	if (c->l.data)
		return put_user_string(SLOT_CALL, o, TAG_DATA, arg(c, c->l.data));
	return o;
}

enum generic_state { GENERIC_CHANGED = 1 << 0 }; // the paths were others before the call

// submit_entered sends the record once more, with the paths as they were before the call.
static __always_inline void submit_entered(struct call *c, struct scratch *s)
{
	__u32 o = put_entered(c->from, 0);
	if (c->l.path2)
		o = put_entered(o, 1);
	o = put_rest(c, o);
	submit(RING_EVENT, SLOT_CALL, o, true);
}

// enters_early reports whether the paths of the call are read before it, too.
static __always_inline bool enters_early(struct call *c)
{
	__u32 i = c->index;
	barrier_var(i);
	return c->l.path && !paths_copied && i < CALLS && has_bit(interest_enter, i);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(call_generic, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	struct task_struct *t = bpf_get_current_task_btf();
	if (!c || !s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	((struct head *)s->b)->flags = 0;
	__u32 from = put_numbers(c, s, sizeof(struct head)), second = from, o = from;
	if (c->l.path)
		second = o = put_call_path(o, 0, 0);
	if (c->l.path2)
		o = put_call_path(o, 1, 0);
	bool changed = false, missed = false;
	if (enters_early(c)) {
		struct entered *e = bpf_task_storage_get(&entered_of, t, 0, 0);
		missed = !e || e->index != c->index + 1;
		if (!missed) {
			e->index = 0;
			changed = differs(e, s, from, second, 0) || (c->l.path2 && differs(e, s, second, o, 1));
		}
	}
	if (changed || missed)
		set_flag(s, HEAD_UNSTABLE);
	c->from = from;
	c->end = o;
	c->state = changed ? GENERIC_CHANGED : 0;
	if (c->l.texts && !changed && !missed) {
		note_argument(TEXT_FIRST, from, second);
		if (c->l.path2)
			note_argument(TEXT_SECOND, second, o);
		c->verdict |= VERDICT_CAPTURED;
		bpf_tail_call(ctx, &filter_late, c->l.type);
	}
	jump(ctx, &call_programs, CALL_GENERIC_EMIT);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(call_generic_emit, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	if (!c || !s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	begin_captured(c, s);
	submit(RING_EVENT, SLOT_CALL, put_rest(c, c->end), wakes_reader(c));
	if (c->state & GENERIC_CHANGED)
		submit_entered(c, s);
	return 0;
}
