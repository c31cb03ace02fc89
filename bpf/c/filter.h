// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The seam to the filter that is compiled from the rules. Its programs are generated in user space (sensor/filter), one or two for each
// event type, and stand in two tables by event type: the first looks at what the call's arguments, its result and its task tell and goes on
// to the program that captures the call; the second looks at the paths of the capture and goes on to the program that sends it. Where a
// table has no program, everything goes on.
#pragma once
#include "put.h"

#define FILTER_TYPES 1024

// What a filter program notes in call.verdict.
enum verdict {
	VERDICT_DROP = 1 << 0,     // no rule can match
	VERDICT_EMIT = 1 << 1,     // it leaves the kernel all the same, so that the verdict is checked
	VERDICT_RECORD = 1 << 2,   // no rule can match, but the flight recorder wants it: it wakes nobody (CALL_RECORD sets this)
	VERDICT_CAPTURED = 1 << 3, // the paths have been captured
	VERDICT_BROAD = 1 << 4,    // of a process event: only rules may match of which the kernel can tell next to nothing
	VERDICT_LIKELY = 1 << 5,   // of a process event: another rule may match
};

// Where an event was dropped.
enum filter_stage { STAGE_CALL, STAGE_TASK, STAGE_PATH, STAGE_SKETCH, STAGES };

// Counts of one event type on one CPU.
struct filter_count {
	__u64 dropped[STAGES];
	__u64 sampled; // of those dropped: emitted to be checked
	__u64 emitted; // by a filter program's verdict
	__s64 countdown;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FILTER_TYPES);
	__type(key, __u32);
	__type(value, struct filter_count);
} filter_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, FILTER_TYPES);
	__type(key, __u32);
	__type(value, __u32);
} filter_early SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, FILTER_TYPES);
	__type(key, __u32);
	__type(value, __u32);
} filter_late SEC(".maps");

// Event types of the calls that are filtered most.
const volatile __u16 type_open = 0, type_openat = 0;

// jump is a tail call to a place that is one number to the verifier, as constants of the object are: it becomes a jump of the machine's. One to
// a place that varies is looked up, and indirect, which is what processors guard against speculation.
static __always_inline void jump(void *ctx, void *table, __u32 place)
{
	asm volatile("r1 = %[ctx]\n\t"
		     "r2 = %[table]\n\t"
		     "r3 = %[place]\n\t"
		     "call 12"
		     :
		     : [ctx] "r"(ctx), [table] "r"(table), [place] "r"(place)
		     : "r0", "r1", "r2", "r3", "r4", "r5");
}

// to_filter goes to the program of an event type in one of the two tables. It comes back if there is none.
static __always_inline void to_filter(void *ctx, void *table, __u32 type)
{
	if (type == type_openat)
		jump(ctx, table, type_openat);
	else if (type == type_open)
		jump(ctx, table, type_open);
	else
		bpf_tail_call(ctx, table, type);
}

// Whether a cgroup is that of a container, as user space read its path; what is not in here is not known.
enum cgroup_kind { CGROUP_UNKNOWN, CGROUP_HOST, CGROUP_CONTAINER };

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct cgroup_key);
	__type(value, __u32);
} cgroup_kinds SEC(".maps");

enum open_kind { OPEN_FAILED, OPEN_FILE, OPEN_DIRECTORY };

// What a socket is to the rules, as sensor/extract says it.
enum socket_kind {
	SOCKET_IPV4,
	SOCKET_IPV6,
	SOCKET_IPV4_SERVER,
	SOCKET_IPV6_SERVER,
	SOCKET_UNIX,
	SOCKET_NETLINK,
	SOCKET_OTHER,
	SOCKET_NONE, // the call that makes one failed
	SOCKET_UNKNOWN
};

enum socket_protocol { PROTOCOL_NULL, PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP, PROTOCOL_RAW, PROTOCOL_UNKNOWN };

enum socket_truth { SOCKET_NO, SOCKET_YES, SOCKET_NULL, SOCKET_MAYBE };

// An end of a connection. An IPv4 address stands in an IPv6 one, also where the socket is of IPv4: rules make no difference.
struct socket_end {
	__u32 known; // 0: null
	__u32 port;
	__u32 bits; // with ip the key of a trie
	__u8 ip[16];
};

// A socket and its ends as the second filter program reads them.
struct socket_facts {
	__u32 known; // 0: user space may see other ends
	__u32 kind, protocol;
	__u32 server, connected, changed; // enum socket_truth
	struct socket_end client, server_end, local, remote;
};

// The paths of a capture as the second filter program reads them.
#define TEXT_LEN 256
#define TEXT_UNKNOWN (~0U)

enum text_index { TEXT_FIRST, TEXT_SECOND, TEXT_RAW, TEXTS };

struct text {
	__u32 len;  // 0: null; TEXT_UNKNOWN: longer than what is kept, or not known
	__u32 base; // where the last component begins
	__u32 dir;  // length of the directory, which a directory is itself
	__u32 bits; // with b the key of a trie
	__u8 b[2 * TEXT_LEN + 8]; // twice, so that the verifier sees two lengths fit
};

// The forms of an open's path that differ: as passed, in the first text; as walked, in the second.
enum { FORM_FIRST = 1 << 0, FORM_SECOND = 1 << 1 };

struct texts {
	__u32 forms, pad;
	struct text t[TEXTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct texts);
} filter_texts SEC(".maps");

static __always_inline struct texts *current_texts(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&filter_texts, &zero);
}

// The texts of an exec as its filter program reads them: where they stand in the scratch. Those of arguments and environment have NULs in them.
enum exec_text_index { EXEC_EXE_PATH, EXEC_CWD, EXEC_EXE, EXEC_ARGS, EXEC_ENV, EXEC_TEXTS };

struct exec_text {
	__u32 at, len; // TEXT_UNKNOWN: cut, or it could not be read
};

#define EVERY(c) ((c) * 0x0101010101010101ULL)
#define LOW7 EVERY(0x7fULL)

// zero_bytes has the high bit of each byte of w that is zero.
static __always_inline __u64 zero_bytes(__u64 w)
{
	return ~(((w & LOW7) + LOW7) | w | LOW7);
}

// of_last keeps of the last word of n bytes that were gone through word by word what belongs to them.
static __always_inline __u64 of_last(__u64 word, __u32 n)
{
	return word << (-n & 7) * 8;
}

// lowest_byte is the place of the first of the bytes that zero_bytes found.
static __always_inline __u32 lowest_byte(__u64 zero)
{
	__u32 n = 0;
	if (!(__u32)zero)
		n += 4, zero >>= 32;
	if (!(__u16)zero)
		n += 2, zero >>= 16;
	return n + !(__u8)zero;
}

// BOUND says once more that n is below TEXT_LEN: the verifiers before 6.2 forget it in arithmetic of 32 bits.
#define BOUND(n)                      \
	do {                          \
		barrier_var(n);       \
		(n) &= TEXT_LEN - 1;  \
	} while (0)

// finish_text looks at the path in t.b: it is known if it is absolute and clean, so that cleaning it would change nothing. The base
// is found on the way.
__noinline int finish_text(__u32 i, __u32 len)
{
	struct texts *x = current_texts();
	if (!x || i >= TEXTS)
		return 0;
	struct text *t = &x->t[i];
	t->len = TEXT_UNKNOWN;
	if (!len || len >= TEXT_LEN || t->b[0] != '/')
		return 0;
	BOUND(len);
	set_word(&t->b[len], 0); // what ends the path ends its last component
	set_word(&t->b[len + 8], 0);
	__u64 unclean = 0, last = 0, last_at = 0;
	for (__u32 at = 0; at < TEXT_LEN; at += 8) { // without branches but one: the verifier follows each
		if (at >= len)
			break;
		__u64 w = word_at(&t->b[at]), w1 = word_at(&t->b[at + 1]), w2 = word_at(&t->b[at + 2]);
		__u64 slash = zero_bytes(w ^ EVERY('/'));
		__u64 ends1 = zero_bytes(w1 ^ EVERY('/')) | zero_bytes(w1), dot1 = zero_bytes(w1 ^ EVERY('.'));
		__u64 ends2 = zero_bytes(w2 ^ EVERY('/')) | zero_bytes(w2) | zero_bytes(w2 ^ EVERY('.'));
		unclean |= slash & (ends1 | (dot1 & ends2));
		__u64 any = (__s64)(slash | -slash) >> 63;
		barrier_var(any);
		last = (last & ~any) | slash;
		last_at = (last_at & ~any) | (at & any);
	}
	if (unclean)
		return 0;
	if (last >> 32)
		last_at += 4, last >>= 32;
	if (last >> 16)
		last_at += 2, last >>= 16;
	if (last >> 8)
		last_at += 1;
	t->base = last_at + 1;
	t->dir = last_at + ((last_at - 1) >> 63); // one slash for the root
	t->len = len;
	return 0;
}

// text_of_section makes text i of the sections at o and dir of the slot's scratch: a path as passed, and the directory it starts from.
// Where o is end, nothing was read.
__noinline int text_of_section(__u32 i, __u32 o, __u32 dir, __u32 end)
{
	struct scratch *s = scratch_of(SLOT_CALL);
	struct texts *x = current_texts();
	if (!s || !x || i >= TEXTS || o > RECORD_MAX || dir > RECORD_MAX)
		return 0;
	struct text *t = &x->t[i];
	t->len = TEXT_UNKNOWN;
	if (o == end)
		return 0;
	__u32 n = section_at(s, o)->len, at = 0;
	if (!n || n >= TEXT_LEN)
		return 0;
	BOUND(n);
	if (s->b[o + 4] != '/') {
		if (dir == end)
			return 0;
		at = section_at(s, dir)->len;
		if (!at || at >= TEXT_LEN)
			return 0;
		BOUND(at);
		bpf_probe_read_kernel(t->b, at, &s->b[dir + 4]);
		if (at > 1)
			t->b[at++] = '/';
	}
	barrier_var(at);
	if (at >= TEXT_LEN || at + n >= TEXT_LEN)
		return 0;
	BOUND(at);
	bpf_probe_read_kernel(&t->b[at], n, &s->b[o + 4]);
	return finish_text(i, at + n);
}
