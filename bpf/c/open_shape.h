// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the flags and the result of an open say of it. There are shapes of which no rule can match an open whatever else it is: the dispatcher
// drops those before it notes anything of the call.
#pragma once
#include "filter.h"

#define O_WRONLY 01
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_TMPFILE 020000000 // without O_DIRECTORY
#if defined(__TARGET_ARCH_arm64)
#define O_DIRECTORY 040000
#else
#define O_DIRECTORY 0200000
#endif

// open_shape is a number below 32; sensor/filter makes the same: the access mode, whether it is to be a directory, whether a file may be made,
// whether it failed.
static __always_inline __u32 open_shape(__u32 flags, long result)
{
	__u32 shape = flags & 3;
	shape |= (flags / O_DIRECTORY & 1) << 2;
	shape |= ((flags / O_CREAT | flags / O_TMPFILE) & 1) << 3;
	return shape | (result >> 63 & 1 << 4);
}

// count_early_drop counts an event that is dropped for the call alone. It reports false where this is one of those to be checked: the event's
// filter program sees to that.
static __always_inline bool count_early_drop(__u32 type)
{
	struct filter_count *n = bpf_map_lookup_elem(&filter_counts, &type);
	if (!n || n->countdown <= 1)
		return false;
	n->countdown--;
	n->dropped[STAGE_CALL]++;
	return true;
}
