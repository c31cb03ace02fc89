// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Appending sections to a record. Each function is global, so that the verifier checks it once; it takes and returns the offset in the
// slot's scratch, and returns it unchanged where nothing fits or nothing is there.
#pragma once
#include "maps.h"

static __always_inline void set_flag(struct scratch *s, __u32 flag)
{
	((struct head *)s->b)->flags |= flag;
}

static __always_inline void put_section(struct scratch *s, __u32 o, __u16 tag, __u16 len)
{
	struct section *h = (void *)&s->b[o];
	h->tag = tag;
	h->len = len;
}

// user_string appends a string of user memory without its NUL. What cannot be read is left out and makes the record unstable.
static __always_inline __u32 user_string(struct scratch *s, __u32 o, __u32 tag, __u64 p)
{
	if (o > RECORD_MAX || !p)
		return o;
	long n = bpf_probe_read_user_str(&s->b[o + 4], PATH_LEN, (void *)p);
	if (n <= 0) {
		set_flag(s, HEAD_UNSTABLE);
		return o;
	}
	if (n >= PATH_LEN) {
		set_flag(s, HEAD_PATH_TRUNCATED);
		n = PATH_LEN;
	}
	put_section(s, o, tag, n - 1);
	return o + 4 + (__u32)(n - 1);
}

__noinline int put_user_string(__u32 slot, __u32 o, __u32 tag, __u64 p)
{
	struct scratch *s = scratch_of(slot);
	return s ? user_string(s, o, tag, p) : o;
}

// put_kernel_string is put_user_string for kernel memory.
__noinline int put_kernel_string(__u32 slot, __u32 o, __u32 tag, __u64 p)
{
	struct scratch *s = scratch_of(slot);
	if (!s || o > RECORD_MAX || !p)
		return o;
	long n = bpf_probe_read_kernel_str(&s->b[o + 4], PATH_LEN, (void *)p);
	if (n <= 0)
		return o;
	if (n > PATH_LEN)
		n = PATH_LEN;
	put_section(s, o, tag, n - 1);
	return o + 4 + (__u32)(n - 1);
}

// put_user_bytes appends len bytes of user memory, at most PATH_LEN.
__noinline int put_user_bytes(__u32 slot, __u32 o, __u32 tag, __u64 p, __u32 len)
{
	struct scratch *s = scratch_of(slot);
	if (!s || o > RECORD_MAX || !p || !len)
		return o;
	if (len > PATH_LEN)
		len = PATH_LEN;
	if (bpf_probe_read_user(&s->b[o + 4], len, (void *)p)) {
		set_flag(s, HEAD_UNSTABLE);
		return o;
	}
	put_section(s, o, tag, len);
	return o + 4 + len;
}

// put_kernel_bytes is put_user_bytes for kernel memory.
__noinline int put_kernel_bytes(__u32 slot, __u32 o, __u32 tag, __u64 p, __u32 len)
{
	struct scratch *s = scratch_of(slot);
	if (!s || o > RECORD_MAX || !p || !len)
		return o;
	if (len > PATH_LEN)
		len = PATH_LEN;
	if (bpf_probe_read_kernel(&s->b[o + 4], len, (void *)p))
		return o;
	put_section(s, o, tag, len);
	return o + 4 + len;
}

// put_walk appends the path that the slot's walk buffer holds.
__noinline int put_walk(__u32 slot, __u32 o, __u32 tag)
{
	struct scratch *s = scratch_of(slot);
	struct walk_buffer *w = walk_of(slot);
	if (!s || !w || o > RECORD_MAX)
		return o;
	__u32 pos = w->pos;
	if (pos >= PATH_LEN)
		return o;
	__u32 n = PATH_LEN - pos;
	if (n > PATH_LEN)
		return o;
	bpf_probe_read_kernel(&s->b[o + 4], n, &w->b[pos]);
	put_section(s, o, tag, n);
	return o + 4 + n;
}

// within is an offset that is at most RECORD_MAX, as it is known to be where this is used: in a register that clang cannot divide. The verifier of
// 6.1 forgets the bound where clang has compared one copy of an offset and adds another, or reads 32 bits of one back from the stack.
static __always_inline __u64 within(__u32 o)
{
	__u64 at = o;
	asm volatile("if %0 <= %1 goto +1\n\t%0 = %1" : "+r"(at) : "i"(RECORD_MAX));
	return at;
}

// put_struct appends a fixed structure from the stack. It is no function: the size must be a constant. As in word_at the address comes through a
// pointer of the structure's own type.
#define put_struct(s, o, t, v)                                                \
	({                                                                    \
		__u32 __o = (o);                                              \
		if (__o <= RECORD_MAX) {                                      \
			struct section *__h = (void *)&(s)->b[within(__o)];   \
			typeof(v) *__to = (void *)(__h + 1);                  \
			__h->tag = (t);                                       \
			__h->len = sizeof(v);                                 \
			__builtin_memcpy(__to, &(v), sizeof(v));              \
			__o += 4 + sizeof(v);                                 \
		}                                                             \
		__o;                                                          \
	})
