// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Requests of io_uring, which are no system calls: recorded when they are submitted, with paths from the kernel's own copies, and again when
// they complete. User space joins the two; a request that was asked to complete silently has no second record.
#pragma once
#include "recorder.h"
#include "uring_file.h"

#define O_CREAT 0100

static __always_inline __u32 put_name(__u32 o, __u32 second, __u64 filename, __s32 dfd)
{
	struct scratch *s = scratch_of(SLOT_URING);
	struct task_struct *t = bpf_get_current_task_btf();
	__u32 from = o;
	if (!s || !filename || o > RECORD_MAX)
		return o;
	o = put_kernel_string(SLOT_URING, o, TAG_RAW + second, as_number((__u64)KREAD(struct filename, filename, name)));
	if (o == from || s->b[within(from) + 4] == '/')
		return o;
	if (dfd == AT_FDCWD)
		return put_cwd(SLOT_URING, o, TAG_DIR + second, t);
	__u64 f = file_of(t, dfd);
	return f ? put_file_path(SLOT_URING, o, TAG_DIR + second, t, f) : o;
}

// The numbers that the system call of the same name would have.
static __always_inline __u32 put_request(struct scratch *s, __u32 o, __u64 req, __u8 op)
{
	__u64 n[6] = {};
	switch (op) {
	case URING_RENAMEAT:
		n[0] = KREAD(struct io_rename, req, old_dfd);
		n[2] = KREAD(struct io_rename, req, new_dfd);
		n[4] = KREAD(struct io_rename, req, flags);
		o = put_name(o, 0, (__u64)KREAD(struct io_rename, req, oldpath), n[0]);
		o = put_name(o, 1, (__u64)KREAD(struct io_rename, req, newpath), n[2]);
		break;
	case URING_UNLINKAT:
		n[0] = KREAD(struct io_unlink, req, dfd);
		n[2] = KREAD(struct io_unlink, req, flags);
		o = put_name(o, 0, (__u64)KREAD(struct io_unlink, req, filename), n[0]);
		break;
	case URING_MKDIRAT:
		n[0] = KREAD(struct io_mkdir, req, dfd);
		n[2] = KREAD(struct io_mkdir, req, mode);
		o = put_name(o, 0, (__u64)KREAD(struct io_mkdir, req, filename), n[0]);
		break;
	case URING_SYMLINKAT:
		n[1] = KREAD(struct io_link, req, new_dfd);
		o = put_name(o, 0, (__u64)KREAD(struct io_link, req, oldpath), AT_FDCWD);
		o = put_name(o, 1, (__u64)KREAD(struct io_link, req, newpath), n[1]);
		break;
	case URING_LINKAT:
		n[0] = KREAD(struct io_link, req, old_dfd);
		n[2] = KREAD(struct io_link, req, new_dfd);
		n[4] = KREAD(struct io_link, req, flags);
		o = put_name(o, 0, (__u64)KREAD(struct io_link, req, oldpath), n[0]);
		o = put_name(o, 1, (__u64)KREAD(struct io_link, req, newpath), n[2]);
		break;
	case URING_SOCKET:
		n[0] = KREAD(struct io_socket, req, domain);
		n[1] = KREAD(struct io_socket, req, type);
		n[2] = KREAD(struct io_socket, req, protocol);
		break;
	case URING_LISTEN:
		n[1] = bpf_core_type_exists(struct io_listen) ? KREAD(struct io_listen, req, backlog) : 0; // 6.11
		break;
	case URING_FTRUNCATE:
		n[0] = used_fd(req);
		n[1] = bpf_core_type_exists(struct io_ftrunc) ? KREAD(struct io_ftrunc, req, len) : 0; // 6.9
		break;
	case URING_FIXED_FD_INSTALL: // 6.8
		n[0] = used_fd(req);
		break;
	}
	return put_struct(s, o, TAG_NUM, n);
}

static __always_inline __u32 put_open_request(struct scratch *s, __u32 o, __u64 req)
{
	struct open_info x = {};
	fill_open_request(&x, req);
	o = put_struct(s, o, TAG_OPEN, x);
	return put_name(o, 0, (__u64)KREAD(struct io_open, req, filename), x.fd);
}

// put_request_data appends the first bytes that a request sends or has received; most is how many there are at most.
static __always_inline __u32 put_request_data(struct task_struct *t, __u32 o, __u64 req, __u8 op, __u32 most)
{
	struct message m = {};
	__u64 p = as_number((__u64)KREAD(struct io_sr_msg, req, umsg));
	if (op == URING_SENDMSG || op == URING_SENDMSG_ZC || op == URING_RECVMSG) {
		read_message(&m, p, false);
	} else {
		m.data = p;
		m.data_len = KREAD(struct io_sr_msg, req, len);
	}
	if (m.data_len > most)
		m.data_len = most;
	return put_user_bytes(SLOT_URING, o, TAG_DATA, m.data, m.data_len > DATA_LEN ? DATA_LEN : m.data_len);
}

// take_requested stores in x where the hooks saw the request that completes go, which has an address of its own, and reports whether they did.
// Several of one socket complete in one go, and whose is whose nobody knows then; and a thread may complete what another one has sent. What was
// passed has to do, and is a change unless none of them was one.
static __always_inline bool take_requested(struct socket_info *x, struct task_struct *t, __u64 sk)
{
	struct destinations *v = destinations_for(t, false);
	__u64 cookie = (__u64)KREAD(struct sock, sk, __sk_common.skc_cookie.counter);
	__u32 found = DESTINATIONS, n = 0, changed = 0;
	for (__u32 i = 0; i < DESTINATIONS; i++) {
		if (!v || i >= v->n)
			break;
		if (v->d[i].cookie != cookie || v->d[i].nr != IO_URING_ENTER)
			continue;
		if (!n++)
			found = i;
		changed |= v->d[i].changed;
	}
	x->changed = !n || changed;
	barrier_var(found);
	if (!v || found >= DESTINATIONS)
		return false;
	struct destination *d = &v->d[found & (DESTINATIONS - 1)];
	d->cookie = 0;
	if (n != 1)
		return false;
	use_destination(x, d);
	return true;
}

static __always_inline bool sends(__u8 op)
{
	return op == URING_SEND || op == URING_SENDMSG || op == URING_SEND_ZC || op == URING_SENDMSG_ZC;
}

// An address that a request was given: the kernel's copy, or the program's memory.
struct request_address {
	__u64 p;
	__u32 len;
	bool copied;
};

// find_address finds the address that a request that was not carried out was given.
static __always_inline void find_address(struct request_address *a, __u64 req, __u8 op)
{
	__u64 copy = as_number((__u64)KREAD(struct io_kiocb, req, async_data));
	a->copied = !bpf_core_field_exists(struct io_sr_msg, addr) && bpf_core_type_exists(struct io_async_msghdr); // 6.13
	if (op == URING_CONNECT) {
		a->p = as_number((__u64)KREAD(struct io_connect, req, addr));
		a->len = KREAD(struct io_connect, req, addr_len);
		a->copied = false;
	} else if (sends(op) && a->copied) {
		a->p = as_number((__u64)KREAD(struct io_async_msghdr, copy, msg.msg_name));
		a->len = KREAD(struct io_async_msghdr, copy, msg.msg_namelen);
	} else if (op == URING_SENDMSG || op == URING_SENDMSG_ZC) {
		struct message m = {};
		read_message(&m, as_number((__u64)KREAD(struct io_sr_msg, req, umsg)), false);
		a->p = m.name;
		a->len = m.name_len;
	} else if (sends(op) && bpf_core_field_exists(struct io_sr_msg, addr)) { // 6.0
		a->p = as_number((__u64)KREAD(struct io_sr_msg, req, addr));
		a->len = KREAD(struct io_sr_msg, req, addr_len);
	}
	if (a->len > SOCKADDR_LEN)
		a->len = SOCKADDR_LEN;
}

// fill_request_socket stores in x the socket of the file at f, and returns its struct sock; 0: the file is no socket.
static __always_inline __u64 fill_request_socket(struct socket_info *x, __u64 f)
{
	__u64 inode = f ? (__u64)KREAD(struct file, f, f_inode) : 0;
	if (!inode || (KREAD(struct inode, inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	__u64 sock = (__u64)KREAD(struct file, f, private_data), sk = (__u64)KREAD(struct socket, sock, sk);
	if (sk)
		fill_socket(x, sock, sk);
	return sk;
}

// put_requested_socket appends the socket that a request is about that was not carried out, where it is known, and where it is to go. What stands
// in the program's memory it may change, and of a request without a completion nobody says what the kernel saw.
__noinline int put_requested_socket(__u32 o, __u64 req, __u32 op)
{
	struct scratch *s = scratch_of(SLOT_URING);
	struct socket_info x = {.fd = -1};
	struct request_address a = {};
	__u64 sk = 0;
	if (!s || o > RECORD_MAX)
		return o;
	find_address(&a, req, op);
	if (op != URING_ACCEPT && op != URING_SOCKET) {
		x.fd = used_fd(req);
		x.server = op == URING_LISTEN;
		sk = fill_request_socket(&x, as_number(used_file(bpf_get_current_task_btf(), req)));
	}
	if (a.p && !(x.connected && x.type == SOCK_STREAM)) {
		x.remote_known = 0;
		x.changed = 1;
	}
	o = put_struct(s, o, TAG_SOCKET, x);
	if (sk && x.family == AF_UNIX)
		o = put_unix(s, o, sk, op == URING_BIND || op == URING_LISTEN);
	if (a.copied)
		return put_kernel_bytes(SLOT_URING, o, TAG_SOCKADDR, a.p, a.len);
	if (a.p && request_flags(req) & REQUEST_CQE_SKIP)
		set_flag(s, HEAD_UNSTABLE);
	return put_user_bytes(SLOT_URING, o, TAG_SOCKADDR, a.p, a.len);
}

// put_request_socket appends the socket that a request has made or was about, and where that went.
static __always_inline __u32 put_request_socket(struct scratch *s, struct task_struct *t, __u32 o, __u64 req, __u32 pending, __s64 result)
{
	__u8 op = pending;
	struct socket_info x = {.fd = -1};
	__u64 f = (__u64)KREAD(struct io_kiocb, req, file);
	if (op == URING_ACCEPT || op == URING_SOCKET) {
		x.fd = result >= 0 && !slot_of(req, op) ? result : -1;
		f = made_file(t, req, op, result);
	}
	if (op == URING_FIXED_FD_INSTALL)
		x.fd = result >= 0 ? result : -1;
	x.server = op == URING_ACCEPT;
	__u64 sk = fill_request_socket(&x, f);
	if (sk && pending & URING_PENDING_ADDRESS && !take_requested(&x, t, sk) && sends(op))
		x.remote_known = 0;
	o = put_struct(s, o, TAG_SOCKET, x);
	if (sk && x.family == AF_UNIX)
		o = put_unix(s, o, sk, op == URING_ACCEPT || op == URING_BIND || op == URING_LISTEN);
	return o;
}

static __always_inline bool is_socket_op(__u8 op)
{
	return op == URING_CONNECT || op == URING_ACCEPT || op == URING_SEND || op == URING_RECV || op == URING_SENDMSG || op == URING_RECVMSG ||
	       op == URING_SEND_ZC || op == URING_SENDMSG_ZC || op == URING_BIND || op == URING_LISTEN || op == URING_SOCKET ||
	       op == URING_FIXED_FD_INSTALL;
}

static __always_inline bool is_multishot_op(__u8 op)
{
	return op == URING_ACCEPT || op == URING_RECV || op == URING_RECVMSG;
}

// name_request notes the request by its name, unless another one that waits has the same.
static __always_inline void name_request(__u64 req)
{
	if (!bpf_core_field_exists(struct io_kiocb, cqe))
		return;
	struct uring_name name = {(__u64)KREAD(struct io_kiocb, req, ctx), KREAD(struct io_kiocb, req, cqe.user_data)};
	__u64 *other = bpf_map_lookup_elem(&uring_named, &name), named = req;
	if (other && *other != req) {
		__u32 *p = bpf_map_lookup_elem(&uring_pending, other);
		if (*other == NAME_OF_MANY || (p && !(*p & URING_PENDING_REPORTED)))
			named = NAME_OF_MANY;
	}
	bpf_map_update_elem(&uring_named, &name, &named, BPF_ANY);
}

SEC("tp_btf/io_uring_submit_req") // 6.4; io_uring_submit_sqe before
int BPF_PROG(uring_submit, struct io_kiocb *request)
{
	__u64 req = as_number((__u64)request);
	__u32 op = KREAD(struct io_kiocb, req, opcode);
	if (op >= URING_OPS || !uring_types[op])
		return 0;
	struct task_struct *t = bpf_get_current_task_btf();
	struct scratch *s = scratch_of(SLOT_URING);
	if (!s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	if (passes_over())
		return 0;
	__u32 pending = op;
	if (uring_recorded[op]) {
		if (is_open_op(op) && !(KREAD(struct io_open, req, how.flags) & O_CREAT))
			return 0;
		if (!within_record_rate(t))
			return 0;
		pending |= URING_PENDING_RECORDED;
	}
	begin(s, SLOT_URING, KIND_URING, uring_types[op], 0)->nr = op;
	if (pending & URING_PENDING_RECORDED)
		set_flag(s, HEAD_DROPPED | HEAD_RECORDED);
	if (request_flags(req) & REQUEST_CQE_SKIP)
		set_flag(s, HEAD_NO_RESULT);
	__u32 o = put_struct(s, sizeof(struct head), TAG_REQUEST, req);
	if (is_open_op(op))
		o = put_open_request(s, o, req);
	else
		o = put_request(s, o, req, op);
	if (is_socket_op(op)) {
		__u32 from = o;
		struct socket_info *x = (void *)&s->b[within(o) + sizeof(struct section)];
		o = put_requested_socket(o, req, op);
		if (o != from && x->changed)
			pending |= URING_PENDING_ADDRESS;
	}
	if (sends(op))
		o = put_request_data(t, o, req, op, DATA_LEN);
	if (op == URING_FTRUNCATE)
		o = put_used_file(o, as_number(used_file(t, req)), used_fd(req));
	bpf_map_update_elem(&uring_pending, &req, &pending, BPF_ANY);
	name_request(req);
	submit(RING_EVENT, SLOT_URING, o, false);
	if (is_open_op(op))
		note_open(as_number((__u64)KREAD(struct io_kiocb, req, ctx)), req);
	return 0;
}

// take_pending returns what is pending of a request that completes: its operation and flags; 0: nothing that has not been told.
static __always_inline __u32 take_pending(__u64 req)
{
	__u32 *p = bpf_map_lookup_elem(&uring_pending, &req);
	if (p) {
		__u32 pending = __sync_fetch_and_or(p, URING_PENDING_REPORTED);
		bpf_map_delete_elem(&uring_pending, &req);
		return pending & URING_PENDING_REPORTED ? 0 : pending;
	}
	return pending_of_forgotten(req);
}

// report_request reports that the request, no open, has the result.
__noinline int report_request(__u64 req, __u32 pending, __s64 result)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct scratch *s = scratch_of(SLOT_URING);
	__u8 op = pending & (URING_OPS - 1);
	if (!s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	__u32 o = begin_done(s, SLOT_URING, req, pending, result);
	if (is_socket_op(op))
		o = put_request_socket(s, t, o, req, pending, result);
	if (op == URING_FTRUNCATE || op == URING_FIXED_FD_INSTALL)
		o = put_used_file(o, as_number((__u64)KREAD(struct io_kiocb, req, file)), -1);
	if ((op == URING_RECV || op == URING_RECVMSG) && result > 0)
		o = put_request_data(t, o, req, op, result);
	submit(RING_EVENT, SLOT_URING, o, !(pending & URING_PENDING_RECORDED));
	return 0;
}

// report_completed reports that the request has the result, of which pending is what take_pending says.
static __always_inline int report_completed(__u64 req, __u32 pending, __s64 result)
{
	if (!pending)
		return 0;
	if (!is_open_op(pending & 0xff))
		return report_request(req, pending, result);
	forget_open(as_number((__u64)KREAD(struct io_kiocb, req, ctx)), req);
	return report_opened(SLOT_URING, req, pending, result);
}

// find_named finds the request that has this name, and what is pending of it; false: it has completed, or the name is that of many.
static __always_inline bool find_named(struct uring_name *name, __u64 *req, __u32 *pending)
{
	__u64 *r = bpf_map_lookup_elem(&uring_named, name);
	*req = r ? *r : 0;
	__u32 *p = bpf_map_lookup_elem(&uring_pending, req);
	if (!p || (__u64)KREAD(struct io_kiocb, *req, ctx) != name->ring)
		return false;
	*pending = *p;
	return true;
}

// complete is of a completion that the program is told of. One without a request is not the last one of its request, a multishot one, or what
// another ring has sent.
static __always_inline int complete(__u64 ring, __u64 req, __u64 user_data, __s64 result)
{
	struct uring_name name = {ring, user_data};
	__u32 pending;
	if (req)
		return report_completed(req, take_pending(req), result);
	return find_named(&name, &req, &pending) && is_multishot_op(pending & 0xff) ? report_request(req, pending, result) : 0;
}

SEC("tp_btf/io_uring_complete") // 6.11
int BPF_PROG(uring_done, void *ring, void *req, struct io_uring_cqe *cqe)
{
	return complete(as_number((__u64)ring), as_number((__u64)req), cqe->user_data, cqe->res);
}

SEC("tp_btf/io_uring_complete") // 5.18
int BPF_PROG(uring_done_v518, void *ring, void *req, __u64 user_data, int result)
{
	return complete(as_number((__u64)ring), as_number((__u64)req), user_data, result);
}

// uring_overflown sees completions that the program has left no room for, which the other tracepoint does not tell of.
SEC("tp_btf/io_uring_cqe_overflow") // 5.19
int BPF_PROG(uring_overflown, void *ring, __u64 user_data, int result)
{
	struct uring_name name = {as_number((__u64)ring), user_data};
	__u64 req;
	__u32 pending;
	if (!find_named(&name, &req, &pending))
		return 0;
	return report_completed(req, take_pending(req), result);
}
