// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Who did it: the head of every record.
#pragma once
#include "cgroup.h"
#include "path.h"

enum { TYPE_PID, TYPE_TGID, TYPE_PGID, TYPE_SID };

#define OVERLAYFS_MAGIC 0x794c7630
#define CAP_DAC_OVERRIDE 1
#define CAP_FOWNER 3

// The generation of the rules that judge what is captured now.
volatile __u32 generation = 0;

// upid_at is the address of a struct pid's number at a level of namespaces, of which there are 33 at most.
static __always_inline __u64 upid_at(__u64 pid, __u64 level)
{
	level &= 63; // before 6.2 the verifier wants to see a bound, and loses it in a product of 32 bits
	barrier_var(level);
	return (__u64)KADDR(struct pid, pid, numbers) + level * (__u64)bpf_core_type_size(struct upid);
}

// pid_number is the number of a struct pid at a level of namespaces.
static __always_inline __u32 pid_number(__u64 pid, __u32 level)
{
	if (!pid)
		return 0;
	return KREAD(struct upid, upid_at(pid, level), nr);
}

// number_in is the number of a struct pid in the namespace at ns, which is at a level; 0 if it has none there, as a group has that is of an outer one.
static __always_inline __u32 number_in(__u64 ns, __u64 pid, __u32 level)
{
	if (!pid || KREAD(struct pid, pid, level) < level)
		return 0;
	__u64 up = upid_at(pid, level);
	return (__u64)KREAD(struct upid, up, ns) == ns ? KREAD(struct upid, up, nr) : 0;
}

static __always_inline __u32 tty_of(struct task_struct *t)
{
	__u64 tty = (__u64)t->signal->tty;
	if (!tty)
		return 0;
	__u64 driver = (__u64)KREAD(struct tty_struct, tty, driver);
	if (!driver)
		return 0;
	__u32 major = KREAD(struct tty_driver, driver, major);
	__u32 minor = KREAD(struct tty_driver, driver, minor_start) + KREAD(struct tty_struct, tty, index);
	return (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12); // new_encode_dev
}

static __always_inline __u64 caps_at(const void *p)
{
	return KWORD(p); // two halves before 6.3, one number since
}

// fill_numbers stores the task's numbers in its own namespaces.
static __always_inline void fill_numbers(struct head *h, struct task_struct *t)
{
	t = read_only(t);
	__u64 pid = (__u64)t->thread_pid;
	__u32 level = pid ? KREAD(struct pid, pid, level) : 0;
	__u64 tgid = (__u64)t->signal->pids[TYPE_TGID], pgid = (__u64)t->signal->pids[TYPE_PGID], sid = (__u64)t->signal->pids[TYPE_SID];
	h->vtid = pid_number(pid, level);
	h->vpid = pid_number(tgid, level);
	h->pgid = pid_number(pgid, 0);
	h->sid = pid_number(sid, 0);
	h->vpgid = h->pgid;
	h->vsid = h->sid;
	__u64 mnt_ns = (__u64)t->nsproxy->mnt_ns;
	h->mnt_ns = mnt_ns ? KREAD(struct mnt_namespace, mnt_ns, ns.inum) : 0;
	h->pid_ns = 0;
	if (pid) {
		__u64 up = upid_at(pid, level);
		__u64 ns = (__u64)KREAD(struct upid, up, ns);
		h->pid_ns = KREAD(struct pid_namespace, ns, ns.inum);
		if (level) {
			h->vpgid = number_in(ns, pgid, level);
			h->vsid = number_in(ns, sid, level);
		}
	}
}

// fill_identity stores when it was, what came of it, and which process did it.
static __always_inline void fill_identity(struct head *h, struct task_struct *t, __s64 result)
{
	t = read_only(t);
	h->time = bpf_ktime_get_boot_ns();
	h->result = result;
	h->start = t->group_leader->start_boottime;
	h->parent_start = t->real_parent->group_leader->start_boottime;
	h->tid = t->pid;
	h->pid = t->tgid;
	h->ppid = t->real_parent->tgid;
	h->exec_gen = t->self_exec_id;
}

// fill_head stores everything but the name and the cgroup. User and group are the effective ones, as Falco has them.
static __always_inline void fill_head(struct head *h, struct task_struct *t, enum kind kind, __u16 type, __s64 result)
{
	t = read_only(t);
	h->kind = kind;
	h->type = type;
	h->flags = 0;
	h->generation = generation;
	h->cpu = bpf_get_smp_processor_id();
	h->nr = 0;
	fill_identity(h, t, result);
	const struct cred *cred = t->cred;
	h->uid = cred->euid.val;
	h->gid = cred->egid.val;
	h->cap_effective = caps_at(&cred->cap_effective);
	h->cap_permitted = caps_at(&cred->cap_permitted);
	h->cap_inheritable = caps_at(&cred->cap_inheritable);
	h->login_uid = -1;
	if (bpf_core_field_exists(t->loginuid))
		h->login_uid = t->loginuid.val;
	h->tty = tty_of(t);
	fill_numbers(h, t);
}

// fill_name stores the name that the process got at exec or clone: never the live one, which a program sets as it likes. A process that
// is seen for the first time keeps the name it has then.
static __always_inline void fill_name(struct head *h, struct task_struct *t, bool create)
{
	struct process *p = bpf_task_storage_get(&processes, t->group_leader, 0, 0); // 5.11
	if (!p && create)
		p = bpf_task_storage_get(&processes, t->group_leader, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!p) {
		bpf_probe_read_kernel(h->comm, sizeof(h->comm), &t->group_leader->comm);
		return;
	}
	if (!p->comm[0])
		bpf_probe_read_kernel(p->comm, sizeof(p->comm), &t->group_leader->comm);
	__builtin_memcpy(h->comm, p->comm, sizeof(h->comm));
}

// begin_current makes the head of a record about the current task in the slot's scratch. The cgroup comes first: its record must be the
// earlier one.
__noinline int begin_current(__u32 slot, __u32 kind, __u32 type, __s64 result)
{
	struct task_struct *t = bpf_get_current_task_btf(); // 5.11
	struct scratch *s = scratch_of(slot);
	struct cgroup_key k;
	if (!s)
		return 0;
	struct head *h = (void *)s->b;
	see_cgroup(cgroup_of(t), &k);
	fill_head(h, t, kind, type, result);
	h->cgroup = k.id;
	if (k.hierarchy)
		h->flags |= HEAD_CGROUP_V1;
	fill_name(h, t, kind != KIND_EXIT);
	return 0;
}

static __always_inline struct head *begin(struct scratch *s, __u32 slot, enum kind kind, __u16 type, __s64 result)
{
	begin_current(slot, kind, type, result);
	return (void *)s->b;
}
