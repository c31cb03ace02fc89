// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What is known of a process that begins a program or ends: see life.h.
#pragma once
#include "task.h"

#define CLONE_THREAD 0x10000
#define CLONE_INTO_CGROUP 0x200000000ULL
#define FMODE_CREATED (1 << 20)

enum { EXE_WRITABLE = 1, EXE_UPPER = 2, EXE_MEMFD = 4, EXE_LOWER = 8 }; // Falco's

// Which of the process events some rule watches, by kind: those wake the reader.
volatile __u32 process_wake = 0;

// Which of them nobody wants but the process table, by kind.
volatile __u32 process_brief = 0;

// Event types of exec and exit; those of fork come from the call table, but for brief ones.
const volatile __u16 type_exec = 0, type_exit = 0, type_clone = 0;

static __always_inline bool wakes(enum kind kind)
{
	return process_wake >> kind & 1;
}

static __always_inline bool brief(enum kind kind)
{
	return process_brief >> kind & 1;
}

static __always_inline __u64 nanoseconds(__s64 sec, __u32 nsec)
{
	return (__u64)sec * 1000000000 + nsec;
}

static __always_inline __u64 mtime_of(__u64 inode)
{
	if (bpf_core_field_exists(struct inode, i_mtime_sec)) // 6.11
		return nanoseconds(KREAD(struct inode, inode, i_mtime_sec), KREAD(struct inode, inode, i_mtime_nsec));
	if (bpf_core_field_exists(struct inode___v67, __i_mtime))
		return nanoseconds(KREAD(struct inode___v67, inode, __i_mtime.tv_sec), KREAD(struct inode___v67, inode, __i_mtime.tv_nsec));
	return nanoseconds(KREAD(struct inode___v517, inode, i_mtime.tv_sec), KREAD(struct inode___v517, inode, i_mtime.tv_nsec));
}

static __always_inline __u64 ctime_of(__u64 inode)
{
	if (bpf_core_field_exists(struct inode, i_ctime_sec)) // 6.11
		return nanoseconds(KREAD(struct inode, inode, i_ctime_sec), KREAD(struct inode, inode, i_ctime_nsec));
	if (bpf_core_field_exists(struct inode___v66, __i_ctime))
		return nanoseconds(KREAD(struct inode___v66, inode, __i_ctime.tv_sec), KREAD(struct inode___v66, inode, __i_ctime.tv_nsec));
	return nanoseconds(KREAD(struct inode___v517, inode, i_ctime.tv_sec), KREAD(struct inode___v517, inode, i_ctime.tv_nsec));
}

// overlay_layer is EXE_UPPER or EXE_LOWER for a file of an overlay, else 0. The upper dentry stands behind the inode in struct ovl_inode,
// whose BTF a module keeps.
static __always_inline __u32 overlay_layer(__u64 inode)
{
	__u64 sb = (__u64)KREAD(struct inode, inode, i_sb);
	if (KREAD(struct super_block, sb, s_magic) != OVERLAYFS_MAGIC)
		return 0;
	__u64 upper = 0;
	bpf_probe_read_kernel(&upper, sizeof(upper), (void *)inode + bpf_core_type_size(struct inode));
	if (!upper)
		return EXE_LOWER;
	return KREAD(struct dentry, upper, d_inode) ? EXE_UPPER : EXE_LOWER;
}

static __always_inline bool from_memfd(__u64 dentry, __u64 inode)
{
	char name[6];
	if (KREAD(struct inode, inode, i_nlink) || (__u64)KREAD(struct dentry, dentry, d_parent) != dentry)
		return false;
	if (bpf_probe_read_kernel(name, sizeof(name), KREAD(struct dentry, dentry, d_name.name)))
		return false;
	return name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && name[3] == 'f' && name[4] == 'd' && name[5] == ':';
}

struct group_search {
	__u64 groups;
	__u32 gid, found;
};

static long group_step(__u64 i, struct group_search *s)
{
	__u32 gid = 0;
	bpf_probe_read_kernel(&gid, sizeof(gid), (void *)(s->groups + 4 * i));
	s->found = gid == s->gid;
	return s->found;
}

static __always_inline bool in_group(const struct cred *cred, __u32 gid)
{
	if (cred->fsgid.val == gid)
		return true;
	__u64 info = as_number((__u64)cred->group_info);
	int n = info ? KREAD(struct group_info, info, ngroups) : 0;
	struct group_search s = {.groups = (__u64)KADDR(struct group_info, info, gid), .gid = gid};
	if (n > 0)
		bpf_loop(n > 1024 ? 1024 : n, group_step, &s, 0);
	return s.found;
}

// writable_by says whether the credentials could write the file, as Falco judges it.
static __always_inline bool writable_by(const struct cred *cred, __u64 inode)
{
	__u16 mode = KREAD(struct inode, inode, i_mode);
	__u64 caps = caps_at(&cred->cap_effective);
	if (caps >> CAP_DAC_OVERRIDE & 1 || caps >> CAP_FOWNER & 1)
		return true;
	if (cred->fsuid.val == KREAD(struct inode, inode, i_uid.val))
		return mode & 0200;
	if (in_group(cred, KREAD(struct inode, inode, i_gid.val)))
		return mode & 0020;
	return mode & 0002;
}

static __always_inline void fill_exec(struct exec_info *x, struct task_struct *t, __u64 file)
{
	__u64 inode = (__u64)KREAD(struct file, file, f_inode), dentry = (__u64)KREAD(struct file, file, f_path.dentry);
	x->ino = KREAD(struct inode, inode, i_ino);
	x->mtime = mtime_of(inode);
	x->ctime = ctime_of(inode);
	x->flags = overlay_layer(inode);
	if (writable_by(t->cred, inode))
		x->flags |= EXE_WRITABLE;
	if (from_memfd(dentry, inode))
		x->flags |= EXE_MEMFD;
	__u64 pid = (__u64)t->thread_pid;
	if (!pid)
		return;
	__u64 up = upid_at(pid, KREAD(struct pid, pid, level));
	__u64 ns = (__u64)KREAD(struct upid, up, ns), init = (__u64)KREAD(struct pid_namespace, ns, child_reaper);
	x->pid_ns_start = init ? KREAD(struct task_struct, init, start_boottime) : 0;
}

// put_strings appends argv or the environment, cut at PATH_LEN.
static __always_inline __u32 put_strings(struct scratch *s, __u32 slot, __u32 o, __u32 tag, __u64 from, __u64 to, __u32 cut)
{
	__u64 n = to - from;
	if (!from || to <= from)
		return o;
	if (n > PATH_LEN) {
		set_flag(s, cut);
		n = PATH_LEN;
	}
	return put_user_bytes(slot, o, tag, from, n);
}
