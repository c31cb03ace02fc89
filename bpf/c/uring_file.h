// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The file that a request of io_uring has made: a descriptor, or in the ring's own table. Which one it is must be found out before the program
// can put another one in its place, and a request that was carried out at once completes only with those that were submitted with it.
#pragma once
#include "generic.h"

enum uring_op { // linux/io_uring.h: stable
	URING_SENDMSG = 9,
	URING_RECVMSG = 10,
	URING_ACCEPT = 13,
	URING_CONNECT = 16,
	URING_OPENAT = 18,
	URING_SEND = 26,
	URING_RECV = 27,
	URING_OPENAT2 = 28,
	URING_RENAMEAT = 35,
	URING_UNLINKAT = 36,
	URING_MKDIRAT = 37,
	URING_SYMLINKAT = 38,
	URING_LINKAT = 39,
	URING_SOCKET = 45,
	URING_SEND_ZC = 47,
	URING_SENDMSG_ZC = 48,
	URING_FIXED_FD_INSTALL = 54,
	URING_FTRUNCATE = 55,
	URING_BIND = 56,
	URING_LISTEN = 57,
	URING_OPS = 64,
};

// Event types by operation; 0: nobody wants it.
volatile __u16 uring_types[URING_OPS] = {};

// Operations that the flight recorder alone wants.
volatile __u8 uring_recorded[URING_OPS] = {};

#if defined(__TARGET_ARCH_arm64)
#define O_LARGEFILE 0400000
#else
#define O_LARGEFILE 0100000
#endif

#define URING_PENDING_RECORDED 0x100
#define URING_PENDING_ADDRESS 0x200  // it sends to an address of its own
#define URING_PENDING_REPORTED 0x400 // what its completion would tell has been told

// Requests recorded and not completed, with their operation and these.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, __u32);
} uring_pending SEC(".maps");

// The open that was submitted last through a ring and has not completed, by the ring's address.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} uring_opens SEC(".maps");

// The ring through which a task has submitted an open last.
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} uring_of SEC(".maps");

// The request of a ring that has the name that the program gave it.
struct uring_name {
	__u64 ring, user_data;
};

#define NAME_OF_MANY 1 // in place of a request

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct uring_name);
	__type(value, __u64);
} uring_named SEC(".maps");

#define SLOT_OF_RINGS_CHOICE 0xffffffff // IORING_FILE_INDEX_ALLOC: the result says which

// slot_of is where in the ring's own table a request puts the file it makes, counted from 1; 0: the file gets a descriptor.
static __always_inline __u32 slot_of(__u64 req, __u8 op)
{
	if (op == URING_OPENAT || op == URING_OPENAT2)
		return KREAD(struct io_open, req, file_slot);
	if (op == URING_SOCKET)
		return KREAD(struct io_socket, req, file_slot);
	if (op == URING_ACCEPT)
		return KREAD(struct io_accept, req, file_slot);
	return 0;
}

// file_in_slot is the file in a slot, counted from 0, of the own table of the ring at address ring; 0: none.
static __always_inline __u64 file_in_slot(__u64 ring, __u32 slot)
{
	__u64 f = 0;
	if (bpf_core_field_exists(struct io_file_table, data)) { // 6.13
		__u64 nodes = (__u64)KREAD(struct io_ring_ctx, ring, file_table.data.nodes);
		__u64 node = slot < KREAD(struct io_ring_ctx, ring, file_table.data.nr) ? KWORD(nodes + 8ULL * slot) : 0;
		if (node)
			f = KREAD(struct io_rsrc_node, node, file_ptr);
	} else {
		__u64 files = (__u64)KREAD(struct io_ring_ctx___v517, ring, file_table.files);
		if (slot < KREAD(struct io_ring_ctx___v517, ring, nr_user_files))
			f = KREAD(struct io_fixed_file, files + 8ULL * slot, file_ptr);
	}
	return f & ~7ULL;
}

// made_file is the file that a request has made, whose result is given: the task's, or in the ring's own table; 0: none.
static __always_inline __u64 made_file(struct task_struct *t, __u64 req, __u8 op, __s64 result)
{
	if (result < 0)
		return 0;
	__u32 slot = slot_of(req, op);
	if (!slot)
		return file_of(t, result);
	return file_in_slot((__u64)KREAD(struct io_kiocb, req, ctx), slot == SLOT_OF_RINGS_CHOICE ? result : slot - 1);
}

// Flags of the submission that the request keeps.
#define REQUEST_FIXED_FILE (1 << 0) // IOSQE_FIXED_FILE
#define REQUEST_CQE_SKIP (1 << 6)   // IOSQE_CQE_SKIP_SUCCESS

// request_flags are struct io_kiocb's.
static __always_inline __u64 request_flags(__u64 req)
{
	return bpf_core_field_size(struct io_kiocb, flags) == 8 ? KREAD(struct io_kiocb, req, flags) : KREAD(struct io_kiocb___v517, req, flags);
}

// used_fd is the descriptor that a request is about that has not been carried out; -1 if that is a slot of the ring's own table.
static __always_inline __s32 used_fd(__u64 req)
{
	if (!bpf_core_field_exists(struct io_kiocb, cqe) || request_flags(req) & REQUEST_FIXED_FILE)
		return -1;
	return KREAD(struct io_kiocb, req, cqe.fd);
}

// used_file is the file that such a request is about; 0: unknown.
static __always_inline __u64 used_file(struct task_struct *t, __u64 req)
{
	if (!bpf_core_field_exists(struct io_kiocb, cqe))
		return 0;
	__u32 fd = KREAD(struct io_kiocb, req, cqe.fd);
	if (request_flags(req) & REQUEST_FIXED_FILE)
		return file_in_slot((__u64)KREAD(struct io_kiocb, req, ctx), fd);
	return file_of(t, fd);
}

// put_used_file appends the file at f, which a request is about, by descriptor fd.
__noinline int put_used_file(__u32 o, __u64 f, __s32 fd)
{
	struct scratch *s = scratch_of(SLOT_URING);
	if (!s || !f || o > RECORD_MAX)
		return o;
	struct open_info x = {.fd = fd};
	fill_file(&x, f);
	o = put_struct(s, o, TAG_OPEN, x);
	return put_file_path(SLOT_URING, o, TAG_RESOLVED, bpf_get_current_task_btf(), f);
}

static __always_inline bool is_open_op(__u8 op)
{
	return op == URING_OPENAT || op == URING_OPENAT2;
}

// passes_over is pass_over as a function of its own: inlined it takes registers, and an offset that is put on the stack for that has no bound to
// the verifier of 6.1.
__noinline int passes_over(void)
{
	return pass_over(bpf_get_current_task_btf());
}

// pending_of_forgotten returns what would be pending of a request that is over: more may be than are remembered, or have been since before the sensor
// was there, and then the operation says whether anybody wants it.
static __always_inline __u32 pending_of_forgotten(__u64 req)
{
	__u32 op = KREAD(struct io_kiocb, req, opcode);
	return op < URING_OPS && uring_types[op] && !uring_recorded[op] && !passes_over() ? op : 0;
}

// begin_done makes the beginning of the record of a request that the current task has completed, and returns where it goes on. Nobody may know of the
// submission any more: the record is one of an event like any other.
static __always_inline __u32 begin_done(struct scratch *s, __u32 slot, __u64 req, __u32 pending, __s64 result)
{
	__u8 op = pending & (URING_OPS - 1);
	begin(s, slot, KIND_URING_DONE, uring_types[op], result)->nr = op;
	if (pending & URING_PENDING_RECORDED)
		set_flag(s, HEAD_DROPPED | HEAD_RECORDED);
	return put_struct(s, sizeof(struct head), TAG_REQUEST, req);
}

// fill_open_request stores in x what a request that opens a file asks for.
static __always_inline void fill_open_request(struct open_info *x, __u64 req)
{
	x->fd = KREAD(struct io_open, req, dfd);
	x->flags = KREAD(struct io_open, req, how.flags) & ~O_LARGEFILE; // io_uring adds it
	x->mode = KREAD(struct io_open, req, how.mode);
	x->how = KREAD(struct io_open, req, how.resolve);
}

// report_opened reports, by way of a slot, that the request, an open, has the result.
__noinline int report_opened(__u32 slot, __u64 req, __u32 pending, __s64 result)
{
	struct scratch *s = scratch_of(slot);
	if (!s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	__u32 o = begin_done(s, slot, req, pending, result);
	__u64 f = made_file(bpf_get_current_task_btf(), req, pending & 0xff, result);
	if (f) {
		struct open_info x = {};
		fill_open_request(&x, req);
		fill_file(&x, f);
		o = put_struct(s, o, TAG_OPEN, x);
		o = put_opened_path(slot, o, as_number(f));
	}
	submit(RING_EVENT, slot, o, !(pending & URING_PENDING_RECORDED));
	return 0;
}

// is_begun reports whether the request, an open, has been prepared and not been carried out: REQ_F_NEED_CLEANUP, the same bit from 5.17 to 6.18.
static __always_inline bool is_begun(__u64 req)
{
	return request_flags(req) >> 13 & 1;
}

// note_open has the open looked at before the next request of its ring, or when the task may have been told of it. One that follows another one as a
// link is carried out only when that has completed, and takes no other one's place.
static __always_inline void note_open(__u64 ring, __u64 req)
{
	if (!bpf_core_field_exists(struct io_kiocb, cqe) || !is_begun(req))
		return;
	__u64 *own = bpf_task_storage_get(&uring_of, bpf_get_current_task_btf(), 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (own)
		*own = ring;
	if (!bpf_map_update_elem(&uring_opens, &ring, &req, BPF_NOEXIST))
		__sync_fetch_and_add(&uring_opens_len, 1);
	else if (!KREAD(struct io_ring_ctx, ring, submit_state.link.head))
		bpf_map_update_elem(&uring_opens, &ring, &req, BPF_ANY);
}

// forget_open forgets the open, or whichever it is if it is 0.
static __always_inline void forget_open(__u64 ring, __u64 req)
{
	__u64 *open = bpf_map_lookup_elem(&uring_opens, &ring);
	if (open && (!req || *open == req) && !bpf_map_delete_elem(&uring_opens, &ring))
		__sync_fetch_and_sub(&uring_opens_len, 1);
}

// look_at reports the request, if it is an open of the ring and has been carried out. It returns false if it is still to be.
static __always_inline bool look_at(__u32 slot, __u64 ring, __u64 req)
{
	__u32 *p = bpf_map_lookup_elem(&uring_pending, &req);
	__u32 pending = p ? *p : 0;
	if (!p || !is_open_op(pending & 0xff) || (__u64)KREAD(struct io_kiocb, req, ctx) != ring)
		return true;
	if (is_begun(req))
		return false;
	if (!(__sync_fetch_and_or(p, URING_PENDING_REPORTED) & URING_PENDING_REPORTED)) // else it has just been reported elsewhere
		report_opened(slot, req, pending, KREAD(struct io_kiocb, req, cqe.res));
	return true;
}

// look_through reports the open that was submitted last through the ring, if it has been carried out.
static __always_inline void look_through(__u64 ring)
{
	__u64 *open = bpf_map_lookup_elem(&uring_opens, &ring);
	if (open && look_at(SLOT_URING, ring, *open))
		forget_open(ring, 0);
}

// uring_look looks before anything is done with the next request. It is a program of its own, and comes before uring_submit, because stacks are small.
SEC("tp_btf/io_uring_submit_req") // 6.4; io_uring_submit_sqe before
int BPF_PROG(uring_look, struct io_kiocb *next)
{
	if (uring_opens_len && bpf_core_field_exists(struct io_kiocb, cqe))
		look_through(as_number((__u64)KREAD(struct io_kiocb, next, ctx)));
	return 0;
}

// look_own looks through the ring through which the current task has submitted an open last.
static __always_inline void look_own(void)
{
	if (!uring_opens_len || !bpf_core_field_exists(struct io_kiocb, cqe))
		return;
	__u64 *ring = bpf_task_storage_get(&uring_of, bpf_get_current_task_btf(), 0, 0);
	if (ring)
		look_through(*ring);
}

// call_uring looks before the program can do anything with a file of which no completion tells it.
SEC("tp_btf/sys_exit")
int BPF_PROG(call_uring, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	if (!c)
		return 0;
	look_own();
	if (!c->l.type)
		return 0;
	to_filter(ctx, &filter_early, c->l.type);
	jump(ctx, &call_programs, CALL_GENERIC);
	return 0;
}

// uring_worked looks when another thread has carried out a request of the task's, and whenever a thread that polls a ring has come by.
SEC("tp_btf/io_uring_task_work_run") // 5.19; as said since 6.10
int BPF_PROG(uring_worked)
{
	look_own();
	return 0;
}

// uring_opened looks as soon as the open has been carried out, by whichever thread: backend L. Where it has been preempted, the kernel does not run it
// for another task on that processor: that one's open waits for the next of the other moments.
SEC("fexit/io_openat2")
int BPF_PROG(uring_opened, struct io_kiocb *request)
{
	if (!bpf_core_field_exists(struct io_kiocb, cqe))
		return 0;
	__u64 req = as_number((__u64)request), ring = as_number((__u64)KREAD(struct io_kiocb, request, ctx));
	if (!bpf_map_lookup_elem(&uring_pending, &req)) {
		__u32 pending = pending_of_forgotten(req);
		if (pending)
			bpf_map_update_elem(&uring_pending, &req, &pending, BPF_NOEXIST);
	}
	if (look_at(SLOT_OPENED, ring, req))
		forget_open(ring, req);
	return 0;
}
