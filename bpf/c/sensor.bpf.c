// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "life.h"
#include "iter.h"
#include "recorder.h"
#include "uring.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

// Types that Go shares reach the object's type information through these.
#define SHARE(kind, name) const kind name *share_##name __attribute__((unused))
SHARE(struct, head);
SHARE(struct, section);
SHARE(struct, open_info);
SHARE(struct, socket_info);
SHARE(struct, exec_info);
SHARE(struct, fork_info);
SHARE(struct, call_layout);
SHARE(enum, kind);
SHARE(enum, tag);
SHARE(enum, head_flag);
SHARE(enum, call_flag);
SHARE(enum, call_program);
SHARE(enum, ring);
SHARE(enum, loss);
SHARE(struct, call);
SHARE(struct, texts);
SHARE(struct, sketch);
SHARE(enum, sketch_flag);
SHARE(struct, filter_count);
SHARE(enum, filter_stage);
SHARE(enum, verdict);
SHARE(enum, record_interest);
SHARE(enum, cgroup_kind);
SHARE(enum, socket_kind);
SHARE(enum, socket_protocol);
SHARE(enum, socket_truth);
