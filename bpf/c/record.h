// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What leaves the kernel: a head, then sections of tag, length and bytes. sensor/decode reads it; the two change together.
#pragma once
#include "kernel.h"

#define NAME_LEN 256
#define PATH_LEN 4096
#define SCRATCH_LEN (32 << 10)                   // the most that a per-CPU map gives
#define RECORD_MAX (SCRATCH_LEN - PATH_LEN - 64) // head and sections, before the last one

enum kind {
	KIND_CALL = 1, // a system call, or an io_uring request standing for one
	KIND_EXEC,
	KIND_FORK,
	KIND_EXIT,
	KIND_TASK,        // a task that was there when the sensor opened
	KIND_CGROUP,      // first sight of a cgroup
	KIND_CGROUP_GONE,
	KIND_URING,      // a request of io_uring, as a system call; begins with TAG_REQUEST
	KIND_URING_DONE, // its completion: result, and what is known only then
};

enum head_flag {
	HEAD_UNSTABLE = 1 << 0,
	HEAD_PATH_TRUNCATED = 1 << 1,
	HEAD_ARGS_TRUNCATED = 1 << 2,
	HEAD_ENV_TRUNCATED = 1 << 3,
	HEAD_COMPAT = 1 << 4,
	HEAD_NO_RESULT = 1 << 5, // of an io_uring request: its completion is not asked for
	HEAD_CGROUP_V1 = 1 << 6,
	HEAD_DROPPED = 1 << 7, // the filter says that no rule can match: it left to be checked, or for the flight recorder
	HEAD_RECORDED = 1 << 8, // it left for the flight recorder or the process table alone
	HEAD_BROAD = 1 << 9,    // of a process event: only rules may match of which the kernel can tell next to nothing
	HEAD_BRIEF = 1 << 10,   // of a fork or an exit: nobody but the process table wants it, and what that does not need is left out
};

struct head {
	__u16 kind, type; // type: the event type that user space gave the call
	__u32 flags, cpu, nr;
	__u64 time; // CLOCK_BOOTTIME
	__s64 result;
	__u64 start, parent_start, cgroup;
	__u64 cap_effective, cap_permitted, cap_inheritable;
	__u32 tid, pid, ppid, vtid, vpid, pgid, sid, vpgid, vsid;
	__u32 uid, gid, login_uid, tty, exec_gen, mnt_ns, pid_ns;
	__u32 generation, pad; // of the rules that judge it
	char comm[16];
};

enum tag {
	TAG_OPEN = 1, // struct open_info
	TAG_SOCKET,   // struct socket_info
	TAG_EXEC,     // struct exec_info
	TAG_FORK,     // struct fork_info
	TAG_NUM,      // the six arguments
	TAG_RAW,      // path as passed; +1 for the second path
	TAG_RAW2,
	TAG_DIR, // directory that a relative path starts from; +1
	TAG_DIR2,
	TAG_RESOLVED, // path walked; +1
	TAG_RESOLVED2,
	TAG_DATA, // first bytes of a payload
	TAG_FILENAME,
	TAG_EXE_PATH,
	TAG_CWD,
	TAG_ARGS, // argv, each ended by NUL
	TAG_ENV,
	TAG_CGROUP,    // path
	TAG_SOCKADDR,  // address as passed, not checked by the kernel
	TAG_UNIX_PATH, // address of a unix socket, kernel's copy
	TAG_REQUEST,   // address of an io_uring request, as a number
};

struct section {
	__u16 tag, len;
};

struct open_info {
	__u32 flags, mode;
	__u64 how, ino;
	__u32 dev;
	__s32 fd; // directory descriptor of the call, or the descriptor it is about
	__u8 type, created, upper, lower;
	__u32 pad;
};

// Where the path as passed stands in the record of an open: its section, and its bytes.
#define OPEN_RAW (sizeof(struct head) + sizeof(struct section) + sizeof(struct open_info))
#define OPEN_PATH (OPEN_RAW + sizeof(struct section))

struct socket_info {
	__s32 fd;
	__u16 family;
	__u8 type, proto;
	__u16 local_port, remote_port;
	__u8 connected, changed, server, remote_known;
	__u8 local[16], remote[16];
	__u64 size;
	__u32 backlog, backlog_max;
};

struct exec_info {
	__u32 flags, pad;
	__u64 ino, ctime, mtime, pid_ns_start;
};

struct fork_info {
	__u64 start, cgroup, clone_flags;
	__u32 tid, pid, vtid, vpid;
};
