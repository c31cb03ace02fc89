// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#pragma once
#include "record.h"

enum ring { RING_PROCESS, RING_EVENT, RINGS };

// LOSS_SHARE: the ring had room, but not for this cgroup.
enum loss { LOSS_FULL, LOSS_SIZE, LOSS_SCRATCH, LOSS_SHARE, LOSSES };

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

// A process whose calls are no events. Its program is part of it: exec is the low half of the task's self_exec_id.
#define SELVES 4
struct self {
	__u32 pid, exec;
	__u64 start;
};

// Calls passed over, by the process's place in selves.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SELVES);
	__type(key, __u32);
	__type(value, __u64);
} exempted SEC(".maps");

// What the reader is doing, written by both sides: it is not to be woken, only by a call that some rule may match, by a process event too, by
// any record.
enum { READER_AWAKE, READER_BUSY, READER_WAITS, READER_IDLE };
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
// of any event, an iterator and a program at the end of a function can be preempted by all of them. Hooks of sockets can be preempted by themselves
// and use none.
enum slot { SLOT_PROCESS, SLOT_CALL, SLOT_URING, SLOT_CGROUP, SLOT_ITERATOR, SLOT_ENTER, SLOT_OPENED, SLOTS };

struct scratch {
	__u8 b[SCRATCH_LEN];
} __attribute__((aligned(8)));

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
	__u64 through;               // 1: chroot and bind mounts are no end
	__u32 pos, flags;
	__u32 leaf; // length of the last component, with its slash
	__u32 root; // where the path below the task's root begins, if the walk went on from there; 0: it did not
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

struct cgroup_key {
	__u64 id;
	__u32 hierarchy, pad;
};

// What of a ring a cgroup occupies, at most: the bytes it has put there since position from, and in the window before that one. Its last
// record ends at position last.
struct account {
	__u64 from, last, now, before;
};

// A cgroup of which there were events.
struct cgroup_state {
	__u64 told; // its path has been sent
	__u64 second; // for which recorded counts
	__u64 recorded; // for the flight recorder alone
	struct account accounts[RINGS];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct cgroup_key);
	__type(value, struct cgroup_state);
} cgroups SEC(".maps");

// Records lost, by the cgroup that is charged. The reader takes entries out; what finds no room here is in lost alone.
struct cgroup_loss {
	__u64 n[RINGS];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct cgroup_key);
	__type(value, struct cgroup_loss);
} cgroups_lost SEC(".maps");

static __always_inline struct scratch *scratch_of(__u32 slot)
{
	return bpf_map_lookup_elem(&scratches, &slot);
}

// word_at and set_word take eight bytes at once, wherever they stand. Of a cast of &b[i] clang makes eight loads or stores: it sees that b is one
// of bytes.
static __always_inline __u64 word_at(const void *p)
{
	return *(const __u64 *)p;
}

static __always_inline void set_word(void *p, __u64 w)
{
	*(__u64 *)p = w;
}

// section_at is the section at offset o.
static __always_inline struct section *section_at(struct scratch *s, __u32 o)
{
	return (void *)&s->b[o];
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
