// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// All other calls, by their layout: up to two paths, what a descriptor is, a string or the first bytes of a buffer, and the raw numbers.
#pragma once
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

SEC("tp_btf/sys_exit")
int BPF_PROG(call_generic, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	if (!c || !s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	begin_call(c, s);
	__u32 o = put_numbers(c, s, sizeof(struct head));
	if (c->l.path)
		o = put_call_path(o, 0, 0);
	if (c->l.path2)
		o = put_call_path(o, 1, 0);
	if (c->l.fd || c->l.flags & CALL_NEW_FD)
		o = put_descriptor(o, c->l.flags & CALL_NEW_FD ? (__s32)c->result : (__s32)arg(c, c->l.fd));
	if (c->l.data && c->l.size) {
		__u64 n = arg(c, c->l.size);
		if (c->l.flags & CALL_RECEIVES)
			n = c->result > 0 ? c->result : 0;
		o = put_user_bytes(SLOT_CALL, o, TAG_DATA, arg(c, c->l.data), n > DATA_LEN ? DATA_LEN : n);
	} else if (c->l.data) {
		o = put_user_string(SLOT_CALL, o, TAG_DATA, arg(c, c->l.data));
	}
	submit(RING_EVENT, SLOT_CALL, o, true);
	return 0;
}
