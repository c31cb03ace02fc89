// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#pragma once
#include "kernel.h"

extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak; // 6.2

// KCAST makes an address that of a T to the verifier too: members of it are loads, and so are members of what it points to. From 6.2 on.
#define KCAST(T, p) ((T *)bpf_rdonly_cast((void *)(p), bpf_core_type_id_kernel(T)))

// KREAD reads member f of the T at p, a kernel address of any origin. From 6.2 on that is one load; before, a helper call. clang would make one
// load of both, with an address that it works out first, if nothing stood behind the one.
#define KREAD(T, p, f)                                                                        \
	({                                                                                    \
		typeof(((T *)0)->f) __r;                                                      \
		if (bpf_rdonly_cast) {                                                        \
			__r = KCAST(T, p)->f;                                                 \
			asm volatile("");                                                     \
		} else {                                                                      \
			T *__p = (void *)(p);                                                 \
			bpf_probe_read_kernel(&__r, sizeof(__r), __builtin_preserve_access_index(&__p->f)); \
		}                                                                             \
		__r;                                                                          \
	})

// KWORD is the eight bytes at p, a kernel address of any origin.
#define KWORD(p) KREAD(struct qstr, p, hash_len)

// KADDR is the address of member f of the T at p, as a number.
#define KADDR(T, p, f) ((void *)(p) + bpf_core_field_offset(T, f))

// read_only is task t, to be read and not to be passed to helpers. For each pointer that is read from one that helpers take, the verifier searches
// all of the kernel's types several times (btf_nested_type_is_trusted, 6.3): a millisecond whenever it comes by.
static __always_inline struct task_struct *read_only(struct task_struct *t)
{
	return bpf_rdonly_cast ? KCAST(struct task_struct, t) : t;
}

// as_number makes an address a number in the verifier's eyes, for arithmetic with it and for global functions, which take nothing else.
static __always_inline __u64 as_number(__u64 p)
{
	__u64 n = 0;
	bpf_probe_read_kernel(&n, sizeof(n), &p);
	return n;
}
