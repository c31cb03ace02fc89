// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// open, openat, openat2, creat; and exec that failed.
#pragma once
#include "call.h"

#define RESOLVE_IN_ROOT 0x10
#define RESOLVE_BENEATH 0x08

struct how_argument { // struct open_how, in user memory
	__u64 flags, mode, resolve;
};

static __always_inline void fill_file(struct open_info *x, __u64 f)
{
	__u64 inode = (__u64)KREAD(struct file, f, f_inode), sb = (__u64)KREAD(struct inode, inode, i_sb);
	__u32 dev = KREAD(struct super_block, sb, s_dev);
	__u32 major = dev >> 20, minor = dev & 0xfffff, layer = overlay_layer(inode);
	x->dev = (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12); // new_encode_dev
	x->ino = KREAD(struct inode, inode, i_ino);
	x->type = KREAD(struct inode, inode, i_mode) >> 12;
	x->created = !!(KREAD(struct file, f, f_mode) & FMODE_CREATED);
	x->upper = !!(layer & EXE_UPPER);
	x->lower = !!(layer & EXE_LOWER);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(call_open, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	struct task_struct *t = bpf_get_current_task_btf();
	if (!c || !s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	begin_call(c, s);
	struct open_info x = {.flags = arg(c, c->l.open_flags), .mode = arg(c, c->l.open_mode), .fd = AT_FDCWD};
	if (c->l.flags & CALL_CREAT)
		x.flags = 01101; // O_CREAT|O_WRONLY|O_TRUNC
	if (c->l.dir)
		x.fd = arg(c, c->l.dir);
	if (c->l.open_how) {
		struct how_argument how = {};
		if (bpf_probe_read_user(&how, sizeof(how), (void *)arg(c, c->l.open_how)))
			set_flag(s, HEAD_UNSTABLE);
		x.flags = how.flags;
		x.mode = how.mode;
		x.how = how.resolve;
	}
	__u64 f = result >= 0 ? file_of(t, result) : 0;
	if (f)
		fill_file(&x, f);
	__u32 o = put_struct(s, sizeof(struct head), TAG_OPEN, x);
	o = put_call_path(o, 0, !!(x.how & (RESOLVE_IN_ROOT | RESOLVE_BENEATH)));
	if (f)
		o = put_file_path(SLOT_CALL, o, TAG_RESOLVED, t, f);
	submit(RING_EVENT, SLOT_CALL, o, true);
	return 0;
}

// What execve was asked for; the task is still the old program. argv is read from user memory as the kernel reads it: an array of
// pointers, of which the first ones are taken.
#define EXEC_ARGS 20

struct strings {
	__u64 array;
	__u32 slot, o, compat, end;
};

static long put_one(__u64 i, struct strings *v)
{
	__u64 p = 0;
	__u32 o = v->o;
	struct scratch *s = scratch_of(SLOT_CALL);
	if (!s || o >= v->end || o > RECORD_MAX - 1024)
		return 1;
	if (bpf_probe_read_user(&p, v->compat ? 4 : 8, (void *)(v->array + i * (v->compat ? 4 : 8))) || !p)
		return 1;
	long n = bpf_probe_read_user_str(&s->b[o], 1024, (void *)p);
	if (n <= 0)
		return 1;
	v->o = o + n;
	return 0;
}

__noinline int put_argv(__u32 o, __u32 tag, __u64 array, __u32 compat)
{
	struct scratch *s = scratch_of(SLOT_CALL);
	if (!s || !array || o > RECORD_MAX - PATH_LEN)
		return o;
	struct strings v = {.array = array, .o = o + 4, .compat = compat, .end = o + PATH_LEN};
	long n = bpf_loop(EXEC_ARGS, put_one, &v, 0);
	if (n == EXEC_ARGS)
		set_flag(s, HEAD_ARGS_TRUNCATED);
	put_section(s, o, tag, v.o - o - 4);
	return v.o;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(call_exec, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	struct task_struct *t = bpf_get_current_task_btf();
	if (!c || !s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	begin_call(c, s);
	struct open_info x = {.fd = c->l.dir ? (__s32)arg(c, c->l.dir) : AT_FDCWD};
	__u32 o = put_struct(s, sizeof(struct head), TAG_OPEN, x);
	o = put_call_path(o, 0, 0);
	o = put_argv(o, TAG_ARGS, arg(c, c->l.data), c->compat);
	o = put_cwd(SLOT_CALL, o, TAG_CWD, t);
	submit(RING_EVENT, SLOT_CALL, o, true);
	return 0;
}
