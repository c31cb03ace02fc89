// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Path arguments are the program's memory, and another thread of it can change them during the call. So they are read before the call as
// well as after it: where the two differ, both are reported, and both records say so. Where both reads are wrong and equal, nobody knows.
#pragma once
#include "call.h"

// Makes the hash one that a program cannot foresee.
const volatile __u64 hash_seed = 0;

struct hashing {
	struct scratch *s;
	__u64 h;
	__u32 o, len;
};

static long hash_step(__u64 i, struct hashing *v)
{
	__u32 at = v->o + 8 * (__u32)i, rest = v->len - 8 * (__u32)i;
	barrier_var(at);
	if (at > SCRATCH_LEN - 8)
		return 1;
	__u64 w = word_at(&v->s->b[at]);
	if (rest < 8)
		w &= (1ULL << (8 * (rest & 7))) - 1;
	__u64 h = (v->h ^ w) * 0x9e3779b97f4a7c15ULL;
	v->h = h ^ h >> 29;
	return 0;
}

// hash_bytes returns a hash of bytes in the slot's scratch.
__noinline int hash_bytes(__u32 slot, __u32 o, __u32 len)
{
	struct hashing v = {.s = scratch_of(slot), .h = hash_seed ^ len, .o = o, .len = len};
	if (!v.s || len > PATH_LEN)
		return 0;
	bpf_loop((len + 7) / 8, hash_step, &v, 0);
	return v.h ^ v.h >> 32;
}

// enter_path keeps the first (0) or second (1) path argument of the call that begins.
static __always_inline void enter_path(struct entered *e, struct scratch *s, __u32 second, __u64 p)
{
	e->len[second] = 0;
	if (!p)
		return;
	long n = bpf_probe_read_user_str(s->b, PATH_LEN, (void *)p);
	if (n <= 0)
		return;
	__u32 len = n - 1;
	barrier_var(len);
	if (len >= PATH_LEN)
		return;
	e->hash[second] = hash_bytes(SLOT_ENTER, 0, len);
	e->len[second] = len;
	if (len < ENTERED_LEN)
		bpf_probe_read_kernel(e->path[second], len, s->b);
}

// enter keeps the paths of call i, which task t begins.
static __always_inline void enter(struct task_struct *t, __u32 i, struct call *c)
{
	struct call_layout *l = bpf_map_lookup_elem(&call_layouts, &i);
	struct scratch *s = scratch_of(SLOT_ENTER);
	struct entered *e = bpf_task_storage_get(&entered_of, t, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!l || !s || !e)
		return;
	e->index = i + 1;
	enter_path(e, s, 0, arg(c, l->path));
	enter_path(e, s, 1, arg(c, l->path2));
}

// Is attached to each call whose paths are read early, so that other calls pay next to nothing. Calls of 32-bit programs do not come here, nor
// those that seccomp refuses: their paths count as unstable.
SEC("tracepoint")
int call_enter_one(struct call_begins *ctx)
{
	__u32 i = ctx->id;
	barrier_var(i);
	if (i >= CALLS_NATIVE || !has_bit(interest_enter, i))
		return 0;
	struct task_struct *t = bpf_get_current_task_btf();
	struct call c = {.index = i};
	read_args(&c, (struct pt_regs *)bpf_task_pt_regs(t)); // 5.15; the context has as many arguments as the call, programs no more
	enter(t, i, &c);
	return 0;
}

// Is attached to all calls where there are no tracepoints for single ones.
SEC("tp_btf/sys_enter")
int BPF_PROG(call_enter, struct pt_regs *regs, long id)
{
	__u64 nr = (__u64)id & ~(__u64)X32_BIT;
	barrier_var(nr);
	if (nr >= CALLS_NATIVE || !has_bit(interest_enter_any, nr))
		return 0;
	struct task_struct *t = bpf_get_current_task_btf();
	__u32 i = call_index(nr, t);
	barrier_var(i);
	if (i >= CALLS || !has_bit(interest_enter, i))
		return 0;
	struct call c = {.index = i};
	read_args(&c, regs);
	enter(t, i, &c);
	return 0;
}

// differs reports whether the path section at offset o is not the path that was read before the call. The section may be missing.
static __always_inline bool differs(struct entered *e, struct scratch *s, __u32 o, __u32 end, __u32 second)
{
	__u32 len = 0;
	if (o != end) {
		barrier_var(o);
		if (o > RECORD_MAX)
			return true;
		len = section_at(s, o)->len;
	}
	if (len != e->len[second])
		return true;
	return len && (__u32)hash_bytes(SLOT_CALL, o + 4, len) != e->hash[second];
}

// put_entered appends a path that was read before the call.
__noinline int put_entered(__u32 o, __u32 second)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	struct task_struct *t = bpf_get_current_task_btf();
	struct entered *e = bpf_task_storage_get(&entered_of, t, 0, 0);
	second = second ? 1 : 0;
	if (!c || !s || !e || o > RECORD_MAX)
		return o;
	__u32 len = e->len[second];
	if (!len)
		return o;
	if (len >= ENTERED_LEN) {
		set_flag(s, HEAD_PATH_TRUNCATED);
		return o;
	}
	bpf_probe_read_kernel(&s->b[o + 4], len, e->path[second]);
	bool relative = s->b[o + 4] != '/';
	put_section(s, o, TAG_RAW + second, len);
	o += 4 + len;
	return relative ? put_call_dir(o, second) : o;
}
