// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Calls about a socket: which one, its two ends, and the first bytes that went through.
#pragma once
#include "call.h"
#include "destination.h"

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define TCP_ESTABLISHED 1 // any connected socket, not only of TCP
#define TCP_LISTEN 10
#define MSG_FASTOPEN 0x20000000
#define SOCKADDR_LEN 110
#define DATA_LEN 80 // as Falco
#define MESSAGES 8  // of sendmmsg and recvmmsg that are looked at

// The event type of connect, for sends that connect; 0 while nobody wants it.
volatile __u32 type_connect = 0;

static __always_inline __u64 socket_of(struct task_struct *t, __s32 fd)
{
	__u64 f = file_of(t, fd);
	if (!f)
		return 0;
	__u64 inode = (__u64)KREAD(struct file, f, f_inode);
	if ((KREAD(struct inode, inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	return (__u64)KREAD(struct file, f, private_data);
}

static __always_inline void fill_ends(struct socket_info *x, __u64 sk)
{
	x->family = KREAD(struct sock, sk, __sk_common.skc_family);
	x->connected = KREAD(struct sock, sk, __sk_common.skc_state) == TCP_ESTABLISHED;
	x->server |= KREAD(struct sock, sk, __sk_common.skc_state) == TCP_LISTEN;
	if (x->family != AF_INET && x->family != AF_INET6)
		return;
	x->local_port = KREAD(struct sock, sk, __sk_common.skc_num);
	x->remote_port = bpf_ntohs(KREAD(struct sock, sk, __sk_common.skc_dport));
	x->remote_known = x->remote_port != 0;
	if (x->family == AF_INET) {
		*(__u32 *)x->local = KREAD(struct sock, sk, __sk_common.skc_rcv_saddr);
		*(__u32 *)x->remote = KREAD(struct sock, sk, __sk_common.skc_daddr);
		return;
	}
	bpf_probe_read_kernel(x->local, 16, KADDR(struct sock, sk, __sk_common.skc_v6_rcv_saddr));
	bpf_probe_read_kernel(x->remote, 16, KADDR(struct sock, sk, __sk_common.skc_v6_daddr));
}

// take_destination stores in x where the hooks saw this socket's nth message go, and reports whether they did.
static __always_inline bool take_destination(struct socket_info *x, struct task_struct *t, __u64 sk, __u32 nth)
{
	struct destinations *v = bpf_task_storage_get(&destinations_of, t, 0, 0);
	if (!v || nth >= v->n || nth >= DESTINATIONS)
		return false;
	barrier_var(nth); // the verifier has forgotten the bound by now
	struct destination *d = &v->d[nth & (DESTINATIONS - 1)];
	if (d->cookie != (__u64)KREAD(struct sock, sk, __sk_common.skc_cookie.counter))
		return false;
	x->family = d->to.family;
	x->remote_port = bpf_ntohs(d->to.port);
	__builtin_memcpy(x->remote, d->to.ip, sizeof(x->remote));
	x->remote_known = 1;
	x->changed = d->changed;
	return true;
}

static __always_inline void forget_destinations(struct task_struct *t)
{
	struct destinations *v = bpf_task_storage_get(&destinations_of, t, 0, 0);
	if (v)
		v->n = 0;
}

// put_unix appends the address of the peer of the unix socket at sk, or its own.
static __always_inline __u32 put_unix(struct scratch *s, __u32 o, __u64 sk, bool own)
{
	__u64 peer = own ? 0 : (__u64)KREAD(struct unix_sock, sk, peer);
	__u64 a = (__u64)KREAD(struct unix_sock, peer ? peer : sk, addr);
	if (!a || (!own && !peer) || o > RECORD_MAX)
		return o;
	__u32 len = KREAD(struct unix_address, a, len) & 127;
	bpf_probe_read_kernel(&s->b[o + 4], len, KADDR(struct unix_address, a, name));
	put_section(s, o, TAG_UNIX_PATH, len);
	return o + 4 + len;
}

// read_message reads a struct msghdr of user memory and the first piece of its data.
static __always_inline void read_message(struct message *m, __u64 p, bool compat)
{
	if (compat) {
		__u32 h[4] = {}, v[2] = {};
		bpf_probe_read_user(h, sizeof(h), (void *)p);
		bpf_probe_read_user(v, sizeof(v), (void *)(__u64)h[2]);
		m->name = h[0], m->name_len = h[1], m->data = v[0], m->data_len = v[1];
	} else {
		__u64 h[4] = {}, v[2] = {};
		bpf_probe_read_user(h, sizeof(h), (void *)p);
		bpf_probe_read_user(v, sizeof(v), (void *)h[2]);
		m->name = h[0], m->name_len = h[1], m->data = v[0], m->data_len = v[1] > 0xffffffff ? 0xffffffff : v[1];
	}
	m->size = m->data_len;
}

static __always_inline void fill_socket(struct socket_info *x, __u64 sock, __u64 sk)
{
	x->type = KREAD(struct socket, sock, type);
	x->proto = KREAD(struct sock, sk, sk_protocol);
	fill_ends(x, sk);
}

static __always_inline void fill_backlog(struct socket_info *x, __u64 sk)
{
	x->backlog = KREAD(struct sock, sk, sk_ack_backlog);
	x->backlog_max = KREAD(struct sock, sk, sk_max_ack_backlog);
}

// put_socket appends the socket behind descriptor fd, where the nth message through it went and what that was.
__noinline int put_socket(__u32 o, __s32 fd, __u32 nth)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	struct task_struct *t = bpf_get_current_task_btf();
	if (!c || !s)
		return o;
	__u64 sock = socket_of(t, fd), sk = sock ? (__u64)KREAD(struct socket, sock, sk) : 0;
	struct message *m = &c->m;
	struct socket_info x = {.fd = fd, .server = !!(c->l.flags & CALL_ACCEPTS), .size = m->size};
	bool hooked = false;
	if (sk) {
		fill_socket(&x, sock, sk);
		hooked = take_destination(&x, t, sk, nth);
	}
	__u64 listener = sk;
	if (c->l.flags & CALL_ACCEPTS) {
		sock = socket_of(t, arg(c, c->l.fd));
		listener = sock ? (__u64)KREAD(struct socket, sock, sk) : 0;
	}
	if (x.server && listener)
		fill_backlog(&x, listener);
	o = put_struct(s, o, TAG_SOCKET, x);
	if (sk && x.family == AF_UNIX)
		o = put_unix(s, o, sk, x.server);
	if (!hooked && m->name)
		o = put_user_bytes(SLOT_CALL, o, TAG_SOCKADDR, m->name, m->name_len > SOCKADDR_LEN ? SOCKADDR_LEN : m->name_len);
	if (m->data && m->data_len && c->result > 0)
		o = put_user_bytes(SLOT_CALL, o, TAG_DATA, m->data, m->data_len > DATA_LEN ? DATA_LEN : m->data_len);
	return o;
}

static __always_inline __u32 put_numbers(struct call *c, struct scratch *s, __u32 o)
{
	__u64 n[6];
	__builtin_memcpy(n, c->args, sizeof(n));
	return put_struct(s, o, TAG_NUM, n);
}

// arguments makes a message of the arguments of a call.
static __always_inline void arguments(struct call *c, struct message *m)
{
	__builtin_memset(m, 0, sizeof(*m));
	if (c->l.flags & CALL_MSGHDR) {
		read_message(m, arg(c, c->l.data), c->compat);
	} else {
		m->data = arg(c, c->l.data);
		m->size = m->data_len = arg(c, c->l.size);
		m->name = arg(c, c->l.addr);
		m->name_len = arg(c, c->l.addr_len);
	}
	if (!(c->l.flags & CALL_RECEIVES))
		return;
	if (c->l.addr && m->name) // recvfrom: a pointer to the length
		bpf_probe_read_user(&m->name_len, sizeof(m->name_len), (void *)arg(c, c->l.addr_len));
	m->size = c->result > 0 ? c->result : 0;
	if (m->data_len > m->size)
		m->data_len = m->size;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(call_socket, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	struct task_struct *t = bpf_get_current_task_btf();
	if (!c || !s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	bool fastopen = c->l.data && type_connect && arg(c, c->l.open_flags) & MSG_FASTOPEN;
	if (c->l.flags & CALL_ONLY_FASTOPEN && !fastopen) {
		forget_destinations(t);
		return 0;
	}
	__s32 fd = c->l.flags & CALL_NEW_FD ? (__s32)c->result : (__s32)arg(c, c->l.fd);
	arguments(c, &c->m);
	struct head *h = begin_call(c, s);
	__u32 o = put_numbers(c, s, sizeof(*h));
	o = put_socket(o, fd, 0);
	forget_destinations(t);
	if (!(c->l.flags & CALL_ONLY_FASTOPEN))
		submit(RING_EVENT, SLOT_CALL, o, wakes_reader(c));
	if (fastopen) {
		h->type = type_connect;
		submit(RING_EVENT, SLOT_CALL, o, wakes_reader(c));
	}
	return 0;
}

struct messages {
	__u32 o, nth;
};

// One message of sendmmsg or recvmmsg: an event of its own.
static long one_message(__u64 i, struct messages *v)
{
	struct call *c = current_call();
	if (!c)
		return 1;
	__u64 p = arg(c, c->l.data) + i * (c->compat ? 32 : 64);
	struct message *m = &c->m;
	__u32 len = 0;
	read_message(m, p, c->compat);
	bpf_probe_read_user(&len, sizeof(len), (void *)(p + (c->compat ? 28 : 56)));
	m->size = len;
	if (m->data_len > len)
		m->data_len = len;
	__u32 o = put_socket(v->o, arg(c, c->l.fd), v->nth);
	if (m->name)
		v->nth += 1;
	submit(RING_EVENT, SLOT_CALL, o, wakes_reader(c));
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(call_messages, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	struct task_struct *t = bpf_get_current_task_btf();
	if (!c || !s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	__u32 n = c->result > 0 ? c->result : 1;
	begin_call(c, s);
	struct messages v = {.o = put_numbers(c, s, sizeof(struct head))};
	bpf_loop(n > MESSAGES ? MESSAGES : n, one_message, &v, 0);
	forget_destinations(t);
	return 0;
}
