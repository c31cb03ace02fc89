// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Where an architecture keeps the number of a system call.
#pragma once
#include "kernel.h"

#define IO_URING_ENTER 426 // on every architecture

#if defined(__TARGET_ARCH_x86)
static __always_inline __u64 call_number(struct pt_regs *r)
{
	return r->orig_ax;
}
#else
static __always_inline __u64 call_number(struct pt_regs *r)
{
	return (__u32)r->syscallno;
}
#endif
