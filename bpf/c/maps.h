// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#pragma once
#include "record.h"

enum ring { RING_PROCESS, RING_EVENT, RINGS };

enum loss { LOSS_FULL, LOSS_SIZE, LOSS_SCRATCH, LOSSES };

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} process_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} event_ring SEC(".maps");

// Records lost, by ring and reason.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RINGS *LOSSES);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

// Calls passed over because the sensor itself made them.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} exempted SEC(".maps");

// What the reader is doing, written by both sides.
enum { READER_AWAKE, READER_WAITS, READER_IDLE };
struct reader {
	__u64 state;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct reader);
} readers SEC(".maps");

// Scratch is per CPU. Programs that can interrupt each other there use different slots: a cgroup's first sight is recorded in the middle
// of any event, an iterator can be preempted by all of them. Hooks of sockets can be preempted by themselves and use none.
enum slot { SLOT_PROCESS, SLOT_CALL, SLOT_URING, SLOT_CGROUP, SLOT_ITERATOR, SLOT_ENTER, SLOTS };

struct scratch {
	__u8 b[SCRATCH_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

// A walk fills b from the end; pos is where the path begins.
struct walk_buffer {
	__u8 b[PATH_LEN + NAME_LEN];
	__u64 dentry, mnt, root_dentry, root_mnt;
	__u64 mark_dentry, mark_mnt; // a directory that the walk may pass
	__u32 pos, flags;
	__u32 leaf; // length of the last component, with its slash
	__u32 mark; // where the path below the marked directory begins; PATH_LEN + 1: the walk did not pass it
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct walk_buffer);
} walks SEC(".maps");

// State of a process, on its leader.
struct process {
	char comm[16]; // at exec, or the parent's at clone
	__u32 exited, pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct process);
} processes SEC(".maps");

// Cgroups whose path has been recorded.
struct cgroup_key {
	__u64 id;
	__u32 hierarchy, pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct cgroup_key);
	__type(value, __u64);
} cgroups_seen SEC(".maps");

static __always_inline struct scratch *scratch_of(__u32 slot)
{
	return bpf_map_lookup_elem(&scratches, &slot);
}

static __always_inline struct walk_buffer *walk_of(__u32 slot)
{
	return bpf_map_lookup_elem(&walks, &slot);
}

static __always_inline void count_loss(enum ring ring, enum loss why)
{
	__u32 i = ring * LOSSES + why;
	__u64 *n = bpf_map_lookup_elem(&lost, &i);
	if (n)
		*n += 1;
}

// submit sends n bytes of slot's scratch. wake says that somebody waits for this one; otherwise it wakes an idle reader only.
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
		count_loss(ring, LOSS_SIZE);
		return 0;
	}
	__u64 least = wake ? READER_WAITS : READER_IDLE;
	bool rouse = r->state >= least && __sync_lock_test_and_set(&r->state, READER_AWAKE) != READER_AWAKE;
	long err = ring == RING_PROCESS
			   ? bpf_ringbuf_output(&process_ring, s->b, n, rouse ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP)  // 5.8
			   : bpf_ringbuf_output(&event_ring, s->b, n, rouse ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
	if (err) {
		count_loss(ring, LOSS_FULL);
		return 0;
	}
	if (rouse || *(volatile __u64 *)&r->state < least)
		return 0;
	if (__sync_lock_test_and_set(&r->state, READER_AWAKE) == READER_AWAKE)
		return 0;
	void *p = ring == RING_PROCESS ? bpf_ringbuf_reserve(&process_ring, 8, 0) : bpf_ringbuf_reserve(&event_ring, 8, 0);
	if (p)
		bpf_ringbuf_discard(p, BPF_RB_FORCE_WAKEUP);
	return 0;
}
