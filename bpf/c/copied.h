// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Backend L, where the kernel lets programs be attached to its functions: path arguments are taken as the kernel copies them, so that no
// thread can change them between the kernel's look and ours, and nothing is paid by calls that take no path. Replaces enter.h.
#pragma once
#include "call.h"

// An address that the sensor passes to see whether a program is called at all; 1 once it was.
volatile __u64 probe_address = 0;
volatile __u32 probe_seen = 0;

// keep_copy stores the string at p, in kernel memory, as a path of call i.
static __always_inline void keep_copy(struct entered *e, __u32 second, const char *p)
{
	long n = bpf_probe_read_kernel_str(e->path[second], ENTERED_LEN, p);
	e->len[second] = n > 0 && n < ENTERED_LEN ? n - 1 : ENTERED_NONE;
}

// copying returns what is kept of the paths of the call that the current task is in; 0: nobody wants them.
static __always_inline struct entered *copying(struct call *c, struct call_layout *l)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(t); // 5.15
	__u64 nr = call_number(regs) & ~(__u64)X32_BIT;
	barrier_var(nr);
	if (nr >= CALLS_NATIVE || !has_bit(interest_enter_any, nr))
		return 0;
	__u32 i = call_index(nr, t);
	barrier_var(i);
	if (i >= CALLS || !has_bit(interest_enter, i))
		return 0;
	struct call_layout *layout = bpf_map_lookup_elem(&call_layouts, &i);
	struct entered *e = bpf_task_storage_get(&entered_of, t, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!layout || !e)
		return 0;
	*l = *layout;
	c->index = i;
	read_args(c, regs);
	if (e->index != i + 1) {
		e->index = i + 1;
		e->len[0] = e->len[1] = ENTERED_NONE;
	}
	return e;
}

// keep keeps what the kernel made of the string at from, as each path of the call that begins there.
static __always_inline void keep(__u64 from, const char *to)
{
	struct call c = {};
	struct call_layout l = {};
	struct entered *e = copying(&c, &l);
	if (!e)
		return;
	bool second = l.path2 && from == arg(&c, l.path2);
	// Both may be the same string, which the kernel then copies once or twice: the latter is the second path's.
	if (l.path && from == arg(&c, l.path) && !(second && e->len[0] != ENTERED_NONE))
		keep_copy(e, 0, to);
	if (second)
		keep_copy(e, 1, to);
}

// Every path that a program passes comes through one of these, of which the sensor attaches the first that sees its own: where a compiler
// has put a part of getname_flags into its callers, what it calls is left.
SEC("fexit/getname_flags")
int path_named(__u64 *ctx)
{
	__u64 from = ctx[0], name = 0;
	if (probe_address && from == probe_address)
		probe_seen = 1;
	if (bpf_get_func_ret(ctx, &name) || !name || name > (__u64)-4096) // 5.17
		return 0;
	keep(from, KREAD(struct filename, name, name));
	return 0;
}

SEC("fexit/strncpy_from_user")
int BPF_PROG(path_copied, char *to, const char *from, long count, long n)
{
	if (probe_address && (__u64)from == probe_address)
		probe_seen = 1;
	if (n >= 0)
		keep((__u64)from, to);
	return 0;
}

// What mount(2) mounts is no path to the kernel, which copies it otherwise.
SEC("fentry/security_sb_mount")
int BPF_PROG(source_copied, const char *source)
{
	struct call c = {};
	struct call_layout l = {};
	struct entered *e = copying(&c, &l);
	if (e && l.path && source)
		keep_copy(e, 0, source);
	return 0;
}

// keep_address keeps an address that the kernel has copied for a call through a socket.
static __always_inline void keep_address(struct socket *sock, const void *address, __u32 len)
{
	struct task_struct *t = bpf_get_current_task_btf();
	if (!address || t->flags & PF_IO_WORKER)
		return;
	struct copied_address *a = bpf_task_storage_get(&addresses_of, t, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!a)
		return;
	barrier_var(len);
	if (len > SOCKADDR_LEN)
		len = SOCKADDR_LEN;
	a->sock = bpf_probe_read_kernel(a->b, len, address) ? 0 : (__u64)sock;
	a->len = len;
	a->nr = call_number((struct pt_regs *)bpf_task_pt_regs(t));
}

SEC("fentry/security_socket_connect")
int BPF_PROG(connect_copied, struct socket *sock, struct sockaddr *address, int len)
{
	keep_address(sock, address, len);
	return 0;
}

SEC("fentry/security_socket_bind")
int BPF_PROG(bind_copied, struct socket *sock, struct sockaddr *address, int len)
{
	keep_address(sock, address, len);
	return 0;
}

SEC("fentry/security_socket_sendmsg")
int BPF_PROG(send_copied, struct socket *sock, struct msghdr *message)
{
	keep_address(sock, message->msg_name, message->msg_namelen);
	return 0;
}
