// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Cgroups: their paths, told at first sight, and their end.
#pragma once
#include "put.h"
#include "ring.h"

#define CGROUP_DEPTH 32

struct cgroup_walk {
	__u64 kn;
	struct walk_buffer *w;
	__u32 pos, done;
};

static long cgroup_step(__u64 i, struct cgroup_walk *w)
{
	__u64 kn = w->kn, up;
	if (bpf_core_field_exists(struct kernfs_node, __parent)) // 6.15
		up = (__u64)KREAD(struct kernfs_node, kn, __parent);
	else
		up = (__u64)KREAD(struct kernfs_node___v517, kn, parent);
	if (!up) {
		w->done = 1;
		return 1;
	}
	// The name's length is not kept anywhere: read it behind the buffer first.
	long n = bpf_probe_read_kernel_str(&w->w->b[PATH_LEN], NAME_LEN, KREAD(struct kernfs_node, kn, name));
	if (n <= 1)
		return 1;
	__u32 len = (n - 1) & (NAME_LEN - 1), pos = w->pos;
	if (pos < len + 1)
		return 1;
	pos -= len + 1;
	pos &= PATH_LEN - 1;
	w->w->b[pos] = '/';
	bpf_probe_read_kernel(&w->w->b[pos + 1], len, &w->w->b[PATH_LEN]);
	w->pos = pos;
	w->kn = up;
	return 0;
}

static __always_inline struct head *cgroup_head(struct scratch *s, enum kind kind, struct cgroup_key *k)
{
	struct head *h = (void *)s->b;
	__builtin_memset(h, 0, sizeof(*h));
	h->kind = kind;
	h->time = bpf_ktime_get_boot_ns(); // 5.8
	h->cpu = bpf_get_smp_processor_id();
	h->cgroup = k->id;
	h->flags = k->hierarchy ? HEAD_CGROUP_V1 : 0;
	return h;
}

// cgroup_record makes the record of the cgroup whose address stands in the slot's walk buffer, and returns its length.
__noinline int cgroup_record(__u32 slot)
{
	struct scratch *s = scratch_of(slot);
	struct walk_buffer *b = walk_of(slot);
	if (!s || !b)
		return 0;
	__u64 c = b->dentry;
	struct cgroup_key k;
	cgroup_key_of(c, &k);
	cgroup_head(s, KIND_CGROUP, &k);
	struct cgroup_walk w = {.kn = (__u64)KREAD(struct cgroup, c, kn), .w = b, .pos = PATH_LEN};
	bpf_loop(CGROUP_DEPTH, cgroup_step, &w, 0);
	__u32 pos = w.pos;
	if (!w.done)
		set_flag(s, HEAD_PATH_TRUNCATED);
	if (pos >= PATH_LEN) {
		b->b[PATH_LEN - 1] = '/';
		pos = PATH_LEN - 1;
	}
	b->pos = pos;
	return put_walk(slot, sizeof(struct head), TAG_CGROUP);
}

// first_sight reports whether c's path has yet to be recorded, and claims to do it.
static __always_inline bool first_sight(struct cgroup_key *k)
{
	struct cgroup_state new = {.told = 1}, *g = bpf_map_lookup_elem(&cgroups, k);
	if (!g)
		return bpf_map_update_elem(&cgroups, k, &new, BPF_NOEXIST) == 0;
	return !g->told && !__sync_lock_test_and_set(&g->told, 1);
}

// see_cgroup records c's path if this is its first sight. Its time is before that of the event that is being made. Where the record is
// lost, the next event tries again.
static __always_inline void see_cgroup(__u64 c, struct cgroup_key *k)
{
	cgroup_key_of(c, k);
	if (!first_sight(k))
		return;
	struct walk_buffer *b = walk_of(SLOT_CGROUP);
	if (!b)
		return;
	b->dentry = c;
	if (submit(RING_PROCESS, SLOT_CGROUP, cgroup_record(SLOT_CGROUP), false))
		return;
	struct cgroup_state *g = bpf_map_lookup_elem(&cgroups, k);
	if (g)
		g->told = 0;
}

// Hierarchy of the v1 controller; cgroups of other v1 hierarchies are nobody's key.
const volatile __s32 v1_hierarchy = 0;

static __always_inline bool counts(struct cgroup_key *k)
{
	return !k->hierarchy || k->hierarchy == (__u32)v1_hierarchy;
}

// The path is there before the first process is.
SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(cgroup_made, struct cgroup *c)
{
	struct cgroup_key k;
	cgroup_key_of((__u64)c, &k);
	if (counts(&k))
		see_cgroup((__u64)c, &k);
	return 0;
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(cgroup_entered, struct cgroup *c)
{
	struct cgroup_key k;
	cgroup_key_of((__u64)c, &k);
	if (counts(&k))
		see_cgroup((__u64)c, &k);
	return 0;
}

SEC("tp_btf/cgroup_release")
int BPF_PROG(cgroup_gone, struct cgroup *c)
{
	struct cgroup_key k;
	struct scratch *s = scratch_of(SLOT_CGROUP);
	cgroup_key_of((__u64)c, &k);
	if (!s || bpf_map_delete_elem(&cgroups, &k))
		return 0; // nobody has seen it
	cgroup_head(s, KIND_CGROUP_GONE, &k);
	submit(RING_PROCESS, SLOT_CGROUP, sizeof(struct head), false);
	return 0;
}
