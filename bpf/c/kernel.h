// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The kernel types that the programs touch, by the names of Linux 6.18, and older spellings of them as ___flavours. Offsets are relocated
// when the programs load (CO-RE), so only the members that are read are listed.
#pragma once

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;

enum { false, true };

// From the kernel's user interface (linux/bpf.h): stable.
enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_F_NO_PREALLOC = 1,
	BPF_F_MMAPABLE = 1 << 10,
	BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
	BPF_RB_AVAIL_DATA = 0,
	BPF_RB_CONS_POS = 2,
};

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_SK_STORAGE = 24,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};

struct bpf_sock {
	__u32 bound_dev_if, family, type, protocol;
};

struct bpf_sock_addr {
	__u32 user_family, user_ip4;
	__u32 user_ip6[4];
	__u32 user_port, family, type, protocol, msg_src_ip4;
	__u32 msg_src_ip6[4];
	union {
		struct bpf_sock *sk;
		__u64 : 64;
	} __attribute__((aligned(8)));
};

// The context of the tracepoint of a call's beginning, as far as it is read: struct trace_event_raw_sys_enter, which user space compares.
struct call_begins {
	__u64 entry;
	__u32 id;
};

// Contexts of iterators: the layout is the kernel's own, relocated like the rest.
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id, seq_num;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r10, r9, r8, bp, bx, cx, dx, si, di, orig_ax;
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	__u64 regs[31];
	__u64 orig_x0;
	__s32 syscallno;
};
#else
#error "unknown architecture"
#endif

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	__s64 counter;
} atomic64_t;

typedef struct {
	__u32 val;
} kuid_t;

typedef struct {
	__u32 val;
} kgid_t;

struct qstr {
	__u64 hash_len;
	__u32 len;
	const unsigned char *name;
};

struct super_block {
	__u32 s_dev;
	unsigned long s_flags, s_magic;
};

struct inode {
	__u16 i_mode;
	kuid_t i_uid;
	kgid_t i_gid;
	unsigned int i_nlink;
	struct super_block *i_sb;
	unsigned long i_ino;
	__s64 i_mtime_sec, i_ctime_sec;
	__u32 i_mtime_nsec, i_ctime_nsec;
};

struct timespec64 {
	__s64 tv_sec;
	long tv_nsec;
};

// Before 6.6 and, for the second form, before 6.11.
struct inode___v517 {
	struct timespec64 i_mtime, i_ctime;
};

struct inode___v66 {
	struct timespec64 i_mtime, __i_ctime;
};

struct inode___v67 {
	struct timespec64 __i_mtime, __i_ctime;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct super_block *d_sb;
};

struct vfsmount {
	struct dentry *mnt_root;
	struct super_block *mnt_sb;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct fs_struct {
	struct path root, pwd;
};

struct file {
	unsigned int f_mode, f_flags;
	struct inode *f_inode;
	void *private_data;
	struct path f_path;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct ns_common {
	unsigned int inum;
};

struct pid_namespace {
	struct task_struct *child_reaper;
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct mnt_namespace {
	struct ns_common ns;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
};

struct tty_driver {
	int major, minor_start;
};

struct tty_struct {
	int index;
	struct tty_driver *driver;
};

typedef struct {
	__u64 val;
} kernel_cap_t;

struct group_info {
	int ngroups;
	kgid_t gid[1];
};

struct cred {
	kuid_t uid, euid, fsuid;
	kgid_t gid, egid, fsgid;
	kernel_cap_t cap_inheritable, cap_permitted, cap_effective;
	struct group_info *group_info;
};

struct signal_struct {
	atomic_t live;
	struct pid *pids[4];
	struct tty_struct *tty;
};

struct kernfs_node {
	struct kernfs_node *__parent;
	const char *name;
	__u64 id;
};

// Before 6.15.
struct kernfs_node___v517 {
	struct kernfs_node *parent;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

struct css_set {
	struct cgroup_subsys_state *subsys[1];
	struct cgroup *dfl_cgrp;
};

struct mm_struct {
	struct file *exe_file;
	unsigned long arg_start, arg_end, env_start, env_end;
};

struct thread_info {
	unsigned long flags;
	__u32 status; // x86 only
};

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	int exit_code;
	__s32 pid, tgid;
	struct task_struct *real_parent, *group_leader;
	struct pid *thread_pid;
	__u64 start_boottime;
	__u64 self_exec_id;
	const struct cred *cred;
	char comm[16];
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	struct mm_struct *mm;
	struct css_set *cgroups;
	kuid_t loginuid; // CONFIG_AUDIT
};

struct linux_binprm {
	struct file *file;
	const char *filename;
};

struct in6_addr {
	__u32 s6_addr32[4];
};

struct sock_common {
	__be32 skc_daddr, skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	__u16 skc_family;
	unsigned char skc_state;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	__u32 sk_ack_backlog, sk_max_ack_backlog;
};

struct socket {
	short type;
	struct sock *sk;
};

struct msghdr {
	void *msg_name;
	int msg_namelen;
};

struct unix_address {
	int len;
	char name[1]; // struct sockaddr_un
};

struct unix_sock {
	struct sock sk;
	struct unix_address *addr;
	struct sock *peer;
};

struct open_how {
	__u64 flags, mode, resolve;
};

struct filename {
	const char *name;
};

// A ring's own table of files.
struct io_rsrc_node {
	unsigned long file_ptr; // with flags in the lowest three bits
};

struct io_rsrc_data {
	unsigned int nr;
	struct io_rsrc_node **nodes;
};

struct io_file_table {
	struct io_rsrc_data data;
};

struct io_submit_link {
	struct io_kiocb *head;
};

struct io_submit_state {
	struct io_submit_link link;
};

struct io_ring_ctx {
	struct io_file_table file_table;
	struct io_submit_state submit_state;
};

// Before 6.13.
struct io_fixed_file {
	unsigned long file_ptr;
};

struct io_file_table___v517 {
	struct io_fixed_file *files;
};

struct io_ring_ctx___v517 {
	struct io_file_table___v517 file_table;
	unsigned int nr_user_files;
};

struct io_cqe {
	__u64 user_data;
	__s32 res;
	int fd; // before the request is carried out
};

struct io_kiocb {
	__u8 opcode;
	__u64 flags;
	struct file *file;
	struct io_ring_ctx *ctx;
	struct io_cqe cqe; // 5.18
	void *async_data;
};

// Before 6.8.
struct io_kiocb___v517 {
	unsigned int flags;
};

struct io_uring_cqe {
	__u64 user_data;
	__s32 res;
};

// What a request asks for stands at the beginning of struct io_kiocb.
struct io_open {
	int dfd;
	__u32 file_slot;
	struct filename *filename;
	struct open_how how;
};

struct io_unlink {
	int dfd, flags;
	struct filename *filename;
};

struct io_rename {
	int old_dfd, new_dfd, flags;
	struct filename *oldpath, *newpath;
};

struct io_mkdir {
	int dfd;
	__u16 mode;
	struct filename *filename;
};

struct io_link {
	int old_dfd, new_dfd, flags;
	struct filename *oldpath, *newpath;
};

struct io_sr_msg {
	void *umsg;
	int len;
	unsigned int msg_flags;
	void *addr; // 6.0 to 6.12
	__u16 addr_len;
};

// The kernel's own copy of what is to be sent, made when the request is submitted: 6.10.
struct io_async_msghdr {
	struct msghdr msg;
};

struct io_connect {
	void *addr;
	int addr_len;
};

struct io_socket {
	int domain, type, protocol;
	__u32 file_slot;
};

struct io_accept {
	__u32 file_slot;
};

struct io_listen {
	int backlog;
};

struct io_ftrunc {
	__s64 len;
};

#pragma clang attribute pop

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
