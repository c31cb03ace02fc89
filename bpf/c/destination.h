// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Where a socket call really goes: the kernel's own copy of the address, seen by the hooks of cgroup v2, kept with the task until the call
// ends. The hooks only watch: they always let the call through. They can be preempted, so they touch no per-CPU scratch.
#pragma once
#include "abi.h"
#include "maps.h"

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define PF_IO_WORKER 0x10
#define DESTINATIONS 8 // kept for one call: sendmmsg has several

struct address {
	__u32 ip[4];
	__u16 family, port; // port as on the wire
};

struct destination {
	__u64 cookie; // of the socket
	struct address to;
	__u32 changed; // differs from the last one of this socket
	__u32 nr;      // of the system call that the task was in; io_uring_enter if it works for a ring
	__u32 pad;
};

struct destinations {
	__u32 n, pad;
	struct destination d[DESTINATIONS];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct destinations);
} destinations_of SEC(".maps");

// The same by the task's address, for kernels that keep hooks of sockets from the storage of tasks: 6.1 and 6.12 do, 6.18 does not.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct destinations);
} destinations_by_task SEC(".maps");

const volatile __u32 destinations_hashed = 0;
static const struct destinations no_destinations = {};

// What the call that ends has left, taken from its task.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct destinations);
} current_destinations SEC(".maps");

// The last peer of a socket.
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct address);
} last_peers SEC(".maps");

// Whether anybody wants connect or one of the calls that send.
volatile __u32 watch_destinations = 0;

static __always_inline bool same_address(const struct address *a, const struct address *b)
{
	return a->family == b->family && a->port == b->port && a->ip[0] == b->ip[0] && a->ip[1] == b->ip[1] &&
	       a->ip[2] == b->ip[2] && a->ip[3] == b->ip[3];
}

static __always_inline struct destinations *destinations_for(struct task_struct *t, bool create)
{
	if (!destinations_hashed)
		return bpf_task_storage_get(&destinations_of, t, 0, create ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
	__u64 k = bpf_get_current_task();
	struct destinations *v = bpf_map_lookup_elem(&destinations_by_task, &k);
	if (v || !create)
		return v;
	bpf_map_update_elem(&destinations_by_task, &k, &no_destinations, BPF_NOEXIST);
	return bpf_map_lookup_elem(&destinations_by_task, &k);
}

static __always_inline int note_destination(struct bpf_sock_addr *ctx, struct address *to)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct destinations *v = destinations_for(t, true);
	struct bpf_sock *sk = ctx->sk;
	if (!v || !sk)
		return 1;
	struct destination d = {.cookie = bpf_get_socket_cookie(ctx), .to = *to, .changed = 1};
	d.nr = t->flags & PF_IO_WORKER ? IO_URING_ENTER : call_number((struct pt_regs *)bpf_task_pt_regs(t)); // 5.15
	struct address *last = bpf_sk_storage_get(&last_peers, sk, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (last) {
		d.changed = !same_address(last, to);
		*last = *to;
	}
	__u32 i = v->n;
	if (i >= DESTINATIONS) {
		if (v->d[DESTINATIONS - 1].nr == d.nr && d.nr != IO_URING_ENTER)
			return 1; // the ninth message of one call
		i = 0; // of calls that nobody wanted
	}
	v->d[i & (DESTINATIONS - 1)] = d;
	v->n = i + 1;
	return 1;
}

// take_destinations moves what the call that ends has left with its task to this processor.
static __always_inline void take_destinations(struct task_struct *t)
{
	__u32 zero = 0;
	struct destinations *to = bpf_map_lookup_elem(&current_destinations, &zero);
	if (!to)
		return;
	to->n = 0;
	struct destinations *from = destinations_for(t, false);
	if (!from || !from->n)
		return;
	*to = *from;
	from->n = 0;
}

static __always_inline int note4(struct bpf_sock_addr *ctx)
{
	if (!watch_destinations)
		return 1;
	struct address to = {.family = AF_INET, .port = ctx->user_port};
	to.ip[0] = ctx->user_ip4;
	return note_destination(ctx, &to);
}

static __always_inline int note6(struct bpf_sock_addr *ctx)
{
	if (!watch_destinations)
		return 1;
	struct address to = {.family = AF_INET6, .port = ctx->user_port};
	to.ip[0] = ctx->user_ip6[0];
	to.ip[1] = ctx->user_ip6[1];
	to.ip[2] = ctx->user_ip6[2];
	to.ip[3] = ctx->user_ip6[3];
	return note_destination(ctx, &to);
}

SEC("cgroup/connect4") // 4.17
int hook_connect4(struct bpf_sock_addr *ctx)
{
	return note4(ctx);
}

SEC("cgroup/connect6")
int hook_connect6(struct bpf_sock_addr *ctx)
{
	return note6(ctx);
}

SEC("cgroup/sendmsg4") // 4.18
int hook_sendmsg4(struct bpf_sock_addr *ctx)
{
	return note4(ctx);
}

SEC("cgroup/sendmsg6")
int hook_sendmsg6(struct bpf_sock_addr *ctx)
{
	return note6(ctx);
}
