// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Calls about a socket: which one, its two ends, and the first bytes that went through.
#pragma once
#include "call.h"

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define TCP_ESTABLISHED 1 // any connected socket, not only of TCP
#define TCP_LISTEN 10
#define MSG_FASTOPEN 0x20000000
#define DATA_LEN 80 // as Falco
#define MESSAGES 8  // of sendmmsg and recvmmsg that are looked at

#define AF_NETLINK 16
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3

// The event type of connect, for sends that connect; 0 while nobody wants it.
volatile __u32 type_connect = 0;

// The event type of bind, whose address is the socket's own end.
const volatile __u16 type_bind = 0;

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

// use_destination stores in x where a hook saw a message go.
static __always_inline void use_destination(struct socket_info *x, struct destination *d)
{
	x->family = d->to.family;
	x->remote_port = bpf_ntohs(d->to.port);
	__builtin_memcpy(x->remote, d->to.ip, sizeof(x->remote));
	x->remote_known = 1;
	x->changed = d->changed;
}

// take_destination stores in x where the hooks saw the current call's nth message through this socket go, and reports whether they did. Of
// a call that has one address that is the last one they saw.
static __always_inline bool take_destination(struct call *c, struct socket_info *x, __u64 sk, __u32 nth)
{
	__u32 zero = 0, found = DESTINATIONS;
	struct destinations *v = bpf_map_lookup_elem(&current_destinations, &zero);
	__u64 cookie = (__u64)KREAD(struct sock, sk, __sk_common.skc_cookie.counter);
	bool several = c->l.program == CALL_MESSAGES;
	if (!v)
		return false;
	for (__u32 i = 0; i < DESTINATIONS; i++) {
		if (i >= v->n)
			break;
		if (v->d[i].cookie != cookie || v->d[i].nr != c->nr)
			continue;
		if (!several || !nth--)
			found = i;
		if (several && found < DESTINATIONS)
			break;
	}
	barrier_var(found);
	if (found >= DESTINATIONS)
		return false;
	use_destination(x, &v->d[found & (DESTINATIONS - 1)]);
	return true;
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

// put_address appends the address that the current call was given: as the kernel copied it, where backend L has seen that. Where it should
// have and did not, the record is unstable.
static __always_inline __u32 put_address(struct call *c, __u32 o, __u64 sock)
{
	struct scratch *s = scratch_of(SLOT_CALL);
	struct message *m = &c->m;
	if (!s || o > RECORD_MAX)
		return o;
	if (addresses_copied && !(c->l.flags & CALL_RECEIVES)) {
		struct copied_address *a = bpf_task_storage_get(&addresses_of, bpf_get_current_task_btf(), 0, 0);
		if (a && a->sock == sock && a->nr == c->nr && c->l.program != CALL_MESSAGES) {
			__u32 len = a->len;
			a->sock = 0;
			barrier_var(len);
			if (len > SOCKADDR_LEN)
				return o;
			bpf_probe_read_kernel(&s->b[o + 4], len, a->b);
			put_section(s, o, TAG_SOCKADDR, len);
			return o + 4 + len;
		}
		if (c->result >= 0)
			set_flag(s, HEAD_UNSTABLE);
	}
	return put_user_bytes(SLOT_CALL, o, TAG_SOCKADDR, m->name, m->name_len > SOCKADDR_LEN ? SOCKADDR_LEN : m->name_len);
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
		hooked = m->name && take_destination(c, &x, sk, nth);
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
	c->sockaddr = 0;
	if (!hooked && m->name) {
		__u32 at = o;
		o = put_address(c, o, sock);
		if (o != at)
			c->sockaddr = at;
	}
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

// set_end makes an end of an address of 4 or 16 bytes.
static __always_inline void set_end(struct socket_end *e, __u16 family, const void *ip, __u16 port)
{
	e->known = 1;
	e->port = port;
	e->bits = 128;
	if (family == AF_INET6) {
		__builtin_memcpy(e->ip, ip, 16);
		return;
	}
	__builtin_memset(e->ip, 0, 10);
	e->ip[10] = e->ip[11] = 0xff;
	__builtin_memcpy(&e->ip[12], ip, 4);
}

static __always_inline bool is_ipv4(const struct socket_end *e)
{
	const __u32 *w = (const void *)e->ip;
	return !w[0] && !w[1] && w[2] == bpf_htonl(0xffff);
}

// passed_end is what sensor/decode makes of the address as passed, which stands in the scratch.
static __always_inline void passed_end(struct scratch *s, __u32 at, __u16 *family, bool binds, struct socket_end *lo, struct socket_end *re)
{
	struct socket_end e = {};
	if (at > RECORD_MAX)
		return;
	__u32 n = section_at(s, at)->len;
	__u8 *p = &s->b[at + sizeof(struct section)];
	__u16 f = *(__u16 *)p, port = bpf_ntohs(*(__u16 *)(p + 2));
	if (n < 2)
		return;
	if (!*family)
		*family = f;
	if (f == AF_INET && n >= 8)
		set_end(&e, f, p + 4, port);
	else if (f == AF_INET6 && n >= 24)
		set_end(&e, f, p + 8, port);
	else
		return;
	if (binds && !(lo->known && lo->port))
		*lo = e;
	if (!binds && !(re->known && re->port))
		*re = e;
}

static __always_inline __u32 protocol_of(const struct socket_info *x, bool ends)
{
	if (x->type == SOCK_RAW)
		return PROTOCOL_RAW;
	if (!ends)
		return PROTOCOL_NULL;
	switch (x->proto) {
	case 1:
		return PROTOCOL_ICMP;
	case 6:
		return PROTOCOL_TCP;
	case 17:
		return PROTOCOL_UDP;
	case 0:
		return x->type == SOCK_STREAM ? PROTOCOL_TCP : x->type == SOCK_DGRAM ? PROTOCOL_UDP : PROTOCOL_NULL;
	}
	return PROTOCOL_NULL;
}

// turn_ends says which of the two ends is the client's, as sensor/extract does.
static __always_inline void turn_ends(struct socket_facts *f, const struct socket_info *x, struct socket_end *lo, struct socket_end *re,
				      bool binds)
{
	if (f->kind == SOCKET_IPV6 && (re->known ? is_ipv4(re) : lo->known && is_ipv4(lo)))
		f->kind = SOCKET_IPV4;
	if (re->known && x->server) {
		f->client = *re;
		f->server_end = *lo;
	} else if (re->known) {
		barrier(); // each end at an address of its own: the verifier takes no choice between two
		f->client = *lo;
		f->server_end = *re;
	} else if (x->server || (binds && lo->known)) {
		f->server_end = *lo;
		f->kind += SOCKET_IPV4_SERVER - SOCKET_IPV4;
	}
	if (f->client.known) {
		f->local = *lo;
		f->remote = *re;
	}
}

// note_socket says of the socket whose section stands at o what a filter program may want to know.
__noinline int note_socket(__u32 o)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	if (!c || !s || o > RECORD_MAX)
		return 0;
	struct socket_facts *f = &c->socket;
	struct socket_info *x = (void *)&s->b[o + sizeof(struct section)];
	struct socket_end lo = {}, re = {};
	__builtin_memset(f, 0, sizeof(*f));
	f->kind = SOCKET_UNKNOWN;
	f->protocol = PROTOCOL_UNKNOWN;
	f->server = f->connected = f->changed = SOCKET_MAYBE;
	__u16 family = x->family;
	bool binds = c->l.type == type_bind;
	if (family == AF_INET || family == AF_INET6) {
		set_end(&lo, family, x->local, x->local_port);
		if (x->remote_known)
			set_end(&re, family, x->remote, x->remote_port);
	}
	if (c->sockaddr)
		passed_end(s, c->sockaddr, &family, binds, &lo, &re);
	bool failed = c->l.flags & CALL_NEW_FD && c->result < 0;
	if (failed ? family : !family)
		return 0; // it is no socket, or nobody knows
	f->known = 1;
	f->protocol = PROTOCOL_NULL;
	if (failed) {
		f->kind = SOCKET_NONE;
		f->server = f->connected = f->changed = SOCKET_NULL;
		return 0;
	}
	f->kind = family == AF_UNIX      ? SOCKET_UNIX
		  : family == AF_NETLINK ? SOCKET_NETLINK
		  : family == AF_INET    ? SOCKET_IPV4
		  : family == AF_INET6   ? SOCKET_IPV6
					 : SOCKET_OTHER;
	f->server = SOCKET_NO;
	f->connected = x->connected ? SOCKET_YES : SOCKET_NO;
	f->changed = x->changed ? SOCKET_YES : SOCKET_NO;
	if (family != AF_INET && family != AF_INET6)
		return 0;
	turn_ends(f, x, &lo, &re, binds);
	f->server = x->server ? SOCKET_YES : SOCKET_NO;
	f->protocol = protocol_of(x, f->client.known || f->server_end.known);
	return 0;
}

enum socket_state { SOCKET_FASTOPEN = 1 << 0 }; // the call is a connect too

SEC("tp_btf/sys_exit")
int BPF_PROG(call_socket, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	if (!c || !s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	bool fastopen = c->l.data && type_connect && arg(c, c->l.open_flags) & MSG_FASTOPEN;
	if (c->l.flags & CALL_ONLY_FASTOPEN && !fastopen)
		return 0;
	__s32 fd = c->l.flags & CALL_NEW_FD ? (__s32)c->result : (__s32)arg(c, c->l.fd);
	((struct head *)s->b)->flags = 0;
	arguments(c, &c->m);
	__u32 from = put_numbers(c, s, sizeof(struct head));
	c->end = put_socket(from, fd, 0);
	c->state = fastopen ? SOCKET_FASTOPEN : 0;
	if (c->l.texts && !fastopen) {
		note_socket(from);
		c->verdict |= VERDICT_CAPTURED;
		bpf_tail_call(ctx, &filter_late, c->l.type);
	}
	jump(ctx, &call_programs, CALL_SOCKET_EMIT);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(call_socket_emit, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	if (!c || !s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	struct head *h = begin_captured(c, s);
	if (!(c->l.flags & CALL_ONLY_FASTOPEN))
		submit(RING_EVENT, SLOT_CALL, c->end, wakes_reader(c));
	if (c->state & SOCKET_FASTOPEN) {
		h->type = type_connect;
		submit(RING_EVENT, SLOT_CALL, c->end, wakes_reader(c));
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
	if (!c || !s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	__u32 n = c->result > 0 ? c->result : 1;
	begin_call(c, s);
	struct messages v = {.o = put_numbers(c, s, sizeof(struct head))};
	bpf_loop(n > MESSAGES ? MESSAGES : n, one_message, &v, 0);
	return 0;
}
