// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The way into a ring: who may have how much of it, who is charged for what is lost, and when the reader is woken.
#pragma once
#include "cgroup_key.h"

// Sizes of the rings, powers of two.
const volatile __u64 ring_bytes[RINGS] = {};

// A cgroup may occupy at most FAIR_SHARE times what is free of a ring: one that floods gets two thirds, two get two fifths each, and there is
// always room for those that have little in it. Below one part in QUIET nobody is counted.
#define FAIR_SHARE 2
#define QUIET 16

// A ring that is fuller than one part in CROWDED wakes the reader whatever the record is.
#define CROWDED 4

// Whom a record wakes: an idle reader; any that waits; one that has not had enough of process events.
enum wake { WAKE_IDLE, WAKE_ANY, WAKE_WAITS };

static __always_inline __u64 ring_query(__u32 ring, __u64 what)
{
	return ring == RING_PROCESS ? bpf_ringbuf_query(&process_ring, what) : bpf_ringbuf_query(&event_ring, what); // 5.8
}

// occupied returns how much of the ring the account's cgroup has, at most twice the truth. Nobody gives space back to an account: a window
// ends once the reader has come to its beginning, and what was put in before that is read.
static __always_inline __u64 occupied(struct account *a, __u64 read, __u64 written)
{
	__u64 from = a->from;
	if (read >= a->last) {
		a->from = written;
		a->now = a->before = 0;
	} else if (read >= from && __sync_val_compare_and_swap(&a->from, from, written) == from)
		a->before = __sync_lock_test_and_set(&a->now, 0);
	return a->before + a->now;
}

// may_enter reports whether the cgroup that runs may have n more bytes of the ring, of whose size bytes some are taken, and puts them on its
// account.
static __always_inline bool may_enter(__u32 ring, __u32 n, __u64 size, __u64 taken)
{
	if (taken < size / QUIET)
		return true;
	struct cgroup_key k;
	cgroup_key_of(cgroup_of(bpf_get_current_task_btf()), &k);
	struct cgroup_state *g = bpf_map_lookup_elem(&cgroups, &k);
	if (!g)
		return true; // not yet seen, or forgotten: the ring's own bound
	struct account *a = &g->accounts[ring & (RINGS - 1)];
	__u64 read = ring_query(ring, BPF_RB_CONS_POS), free = taken < size ? size - taken : 0;
	if (occupied(a, read, read + taken) + n > FAIR_SHARE * free)
		return false;
	__sync_fetch_and_add(&a->now, n);
	a->last = read + taken + n;
	return true;
}

// charge counts a record that is lost, for the ring and for the cgroup that runs.
static __always_inline void charge(__u32 ring, enum loss why)
{
	count_loss(ring, why);
	struct cgroup_key k;
	cgroup_key_of(cgroup_of(bpf_get_current_task_btf()), &k);
	struct cgroup_loss *l = bpf_map_lookup_elem(&cgroups_lost, &k);
	if (!l) {
		struct cgroup_loss none = {};
		bpf_map_update_elem(&cgroups_lost, &k, &none, BPF_NOEXIST);
		l = bpf_map_lookup_elem(&cgroups_lost, &k);
	}
	if (l)
		__sync_fetch_and_add(&l->n[ring & (RINGS - 1)], 1);
}

// submit sends n bytes of slot's scratch and returns 1, or 0 if they are lost. wake is one of enum wake.
//
// The reader announces that it is about to sleep and looks at the rings once more. So: write, then look at what the reader does. Where
// it went to sleep in between, an empty record carries the wake-up.
__noinline int submit(__u32 ring, __u32 slot, __u32 n, __u32 wake)
{
	struct scratch *s = scratch_of(slot);
	__u32 zero = 0;
	struct reader *r = bpf_map_lookup_elem(&readers, &zero);
	if (!s || !r)
		return 0;
	barrier_var(n);
	if (n > RECORD_MAX + PATH_LEN) {
		charge(ring, LOSS_SIZE);
		return 0;
	}
	__u64 size = ring_bytes[ring & (RINGS - 1)], taken = ring_query(ring, BPF_RB_AVAIL_DATA);
	if (!may_enter(ring, n, size, taken)) {
		charge(ring, LOSS_SHARE);
		return 0;
	}
	__u64 least = wake == WAKE_ANY || taken > size / CROWDED ? READER_BUSY : wake == WAKE_WAITS ? READER_WAITS : READER_IDLE;
	bool rouse = r->state >= least && __sync_lock_test_and_set(&r->state, READER_AWAKE) != READER_AWAKE;
	long err = ring == RING_PROCESS
			   ? bpf_ringbuf_output(&process_ring, s->b, n, rouse ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP)  // 5.8
			   : bpf_ringbuf_output(&event_ring, s->b, n, rouse ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
	if (err) {
		charge(ring, LOSS_FULL);
		return 0;
	}
	if (rouse || *(volatile __u64 *)&r->state < least)
		return 1;
	if (__sync_lock_test_and_set(&r->state, READER_AWAKE) == READER_AWAKE)
		return 1;
	void *p = ring == RING_PROCESS ? bpf_ringbuf_reserve(&process_ring, 8, 0) : bpf_ringbuf_reserve(&event_ring, 8, 0);
	if (p)
		bpf_ringbuf_discard(p, BPF_RB_FORCE_WAKEUP);
	return 1;
}
