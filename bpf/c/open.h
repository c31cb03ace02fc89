// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// open, openat, openat2, creat; and exec that failed.
#pragma once
#include "sketch.h"

#define RESOLVE_IN_ROOT 0x10
#define RESOLVE_BENEATH 0x08
#define DT_DIR 4

struct how_argument { // struct open_how, in user memory
	__u64 flags, mode, resolve;
};

// note_file stores what the filter wants to know of file f, fill_file all of it.
static __always_inline void note_file(struct open_info *x, __u64 f)
{
	__u64 inode = (__u64)KREAD(struct file, f, f_inode);
	x->type = KREAD(struct inode, inode, i_mode) >> 12;
	x->created = !!(KREAD(struct file, f, f_mode) & FMODE_CREATED);
}

static __always_inline void fill_file(struct open_info *x, __u64 f)
{
	__u64 inode = (__u64)KREAD(struct file, f, f_inode), sb = (__u64)KREAD(struct inode, inode, i_sb);
	__u32 dev = KREAD(struct super_block, sb, s_dev);
	__u32 major = dev >> 20, minor = dev & 0xfffff, layer = overlay_layer(inode);
	note_file(x, f);
	x->dev = (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12); // new_encode_dev
	x->ino = KREAD(struct inode, inode, i_ino);
	x->upper = !!(layer & EXE_UPPER);
	x->lower = !!(layer & EXE_LOWER);
}

enum open_state {
	OPEN_WALKED = 1 << 0,    // the file's path is known
	OPEN_AS_PASSED = 1 << 1, // it is just the path as passed; the walk buffer holds it
	OPEN_BEYOND = 1 << 2,    // it goes on above the task's root
	OPEN_SKETCHED = 1 << 3,  // it failed, and all that is known is the path as passed
};

// differs_in reports whether the words a and b differ in their first bytes, of which there may be more than eight.
static __always_inline bool differs_in(__u32 bytes, __u64 a, __u64 b)
{
	return bytes < 8 ? (a ^ b) << (64 - 8 * (bytes & 7)) : a ^ b;
}

// passed_as_walked reports whether the path as passed, of n bytes and relative, is the end of the one that the walk buffer holds, below the
// directory that it starts from; absolute, whether it is just that.
__noinline int passed_as_walked(struct scratch *s, struct walk_buffer *w, __u32 n)
{
	if (!s || !w || !n || n >= TEXT_LEN)
		return 0;
	BOUND(n);
	__u32 at = w->pos;
	if (s->b[OPEN_PATH] != '/') {
		at = w->mark;
		if (at >= PATH_LEN || w->b[at & (PATH_LEN - 1)] != '/')
			return 0;
		at++;
	}
	barrier_var(at);
	if (at >= PATH_LEN || PATH_LEN - at != n)
		return 0;
	for (__u32 i = 0; i < TEXT_LEN; i += 8) {
		if (i >= n)
			break;
		if (differs_in(n - i, word_at(&s->b[OPEN_PATH + i]), word_at(&w->b[at + i])))
			return 0;
	}
	return 1;
}

// note_walked makes a text of the path that was walked. It reports whether the path as passed, of n bytes, is the same.
__noinline int note_walked(struct text *t, struct scratch *s, struct walk_buffer *w, __u32 n)
{
	if (!t || !s || !w)
		return 0;
	t->len = TEXT_UNKNOWN;
	__u32 pos = w->pos, leaf = w->leaf;
	if (pos > PATH_LEN)
		return 0;
	__u32 len = PATH_LEN - pos;
	barrier_var(len);
	if (len >= TEXT_LEN || leaf > len)
		return 0;
	BOUND(len);
	__u64 differ = n ^ len, last = 0;
	for (__u32 i = 0; i < TEXT_LEN; i += 8) {
		if (i >= len)
			break;
		differ |= last;
		__u64 word = word_at(&w->b[pos + i]);
		set_word(&t->b[i], word);
		last = word ^ word_at(&s->b[OPEN_PATH + i]);
	}
	t->len = len;
	t->base = len - leaf + 1;
	t->dir = leaf < len ? len - leaf : 1;
	return !(differ | of_last(last, len));
}

// mark_dir has the walk note where it passes the directory that a relative path starts from.
static __always_inline void mark_dir(struct walk_buffer *w, struct task_struct *t, struct call *c)
{
	__s32 fd = c->l.dir ? (__s32)arg(c, c->l.dir) : AT_FDCWD;
	if (fd == AT_FDCWD) {
		w->mark_dentry = (__u64)t->fs->pwd.dentry;
		w->mark_mnt = (__u64)t->fs->pwd.mnt;
		return;
	}
	__u64 f = file_of(t, fd);
	if (f) {
		w->mark_dentry = (__u64)KREAD(struct file, f, f_path.dentry);
		w->mark_mnt = (__u64)KREAD(struct file, f, f_path.mnt);
	}
}

// walk_opened walks the path of file f, which the call opened.
static __always_inline void walk_opened(struct call *c, struct scratch *s, struct walk_buffer *w, struct task_struct *t, __u64 f, bool passed)
{
	aim(w, t, (__u64)KREAD(struct file, f, f_path.dentry), (__u64)KREAD(struct file, f, f_path.mnt));
	w->through = 1;
	if (passed && s->b[OPEN_PATH] != '/')
		mark_dir(w, t, c);
	walk_in(w);
	if (w->flags & WALK_BEYOND)
		c->state |= OPEN_BEYOND;
	if (w->flags & WALK_CUT)
		set_flag(s, HEAD_PATH_TRUNCATED);
	else
		c->state |= OPEN_WALKED;
}

// put_walked_dir appends the directory that a relative path starts from, which the walk passed.
__noinline int put_walked_dir(__u32 o)
{
	struct scratch *s = scratch_of(SLOT_CALL);
	struct walk_buffer *w = walk_of(SLOT_CALL);
	if (!s || !w || o > RECORD_MAX)
		return o;
	__u32 pos = w->pos, mark = w->mark;
	if (pos >= PATH_LEN || mark >= PATH_LEN || mark < pos)
		return o;
	__u32 n = mark - pos;
	barrier_var(n);
	if (n >= PATH_LEN)
		return o;
	if (n)
		bpf_probe_read_kernel(&s->b[o + 4], n, &w->b[pos]);
	else
		s->b[o + 4] = '/', n = 1;
	put_section(s, o, TAG_DIR, n);
	return o + 4 + n;
}

// forms_of says which forms the path has: one text does for both where they are the same, and where only one is known.
static __always_inline __u32 forms_of(struct call *c, struct texts *x)
{
	if (!(c->state & OPEN_WALKED) || !x->t[TEXT_SECOND].len)
		return FORM_FIRST;
	return c->state & OPEN_AS_PASSED ? FORM_SECOND : FORM_FIRST | FORM_SECOND;
}

// compare_forms makes text t of the path that was walked, if somebody looks at it, and reports whether the path as passed, of n bytes, is that.
static __always_inline bool compare_forms(struct call *c, struct scratch *s, struct walk_buffer *w, struct text *t, __u32 n, bool below)
{
	bool same = c->l.texts && note_walked(t, s, w, n);
	if (!n || below || !(c->state & OPEN_WALKED) || c->state & OPEN_BEYOND)
		return false;
	if (c->l.texts && s->b[OPEN_PATH] == '/')
		return same;
	return passed_as_walked(s, w, n);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(call_open, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	struct walk_buffer *w = walk_of(SLOT_CALL);
	struct texts *texts = current_texts();
	if (!c || !s || !w || !texts) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	struct task_struct *t = bpf_rdonly_cast ? KCAST(struct task_struct, c->task) : bpf_get_current_task_btf(); // 5.11
	__u32 o = c->end;
	if (!o) { // a sketch has read it already
		((struct head *)s->b)->flags = 0;
		o = put_raw_path(c, s, OPEN_RAW, 0);
	}
	__u64 f = result >= 0 ? file_of(t, result) : 0;
	struct open_info x = {.flags = open_flags_of(c), .mode = arg(c, c->l.open_mode), .fd = AT_FDCWD};
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
	if (f)
		note_file(&x, f);
	put_struct(s, sizeof(struct head), TAG_OPEN, x);
	bool passed = o != OPEN_RAW, below = x.how & (RESOLVE_IN_ROOT | RESOLVE_BENEATH);
	c->open_flags = x.flags;
	c->open_mode = x.mode;
	c->open_kind = result < 0 ? OPEN_FAILED : x.flags & O_DIRECTORY || x.type == DT_DIR ? OPEN_DIRECTORY : OPEN_FILE;
	c->state = 0;
	c->file = f;
	if (f) {
		walk_opened(c, s, w, t, f, passed);
		if (compare_forms(c, s, w, &texts->t[TEXT_SECOND], passed ? o - OPEN_RAW - sizeof(struct section) : 0, below))
			c->state |= OPEN_AS_PASSED;
	}
	bool looks = c->l.texts && passed && !below;
	if (looks && !f) { // most are dropped for the path as passed alone
		c->state = OPEN_SKETCHED;
		c->end = o;
		c->verdict |= VERDICT_CAPTURED;
		texts->forms = 0;
		to_filter(ctx, &filter_late, c->l.type);
		jump(ctx, &call_programs, CALL_OPEN_EMIT);
		return 0;
	}
	__u32 dir = o;
	if (!(c->state & OPEN_AS_PASSED)) {
		if (c->state & OPEN_WALKED)
			dir = o = put_walk(SLOT_CALL, o, TAG_RESOLVED); // before the walk of the directory takes the buffer
		if (passed && (below || s->b[OPEN_PATH] != '/'))
			o = put_call_dir(o, 0);
	}
	c->end = o;
	if (looks) {
		texts->forms = forms_of(c, texts);
		if (texts->forms & FORM_FIRST)
			text_of_section(TEXT_FIRST, OPEN_RAW, dir, o);
		if (c->open_kind == OPEN_DIRECTORY) {
			texts->t[TEXT_FIRST].dir = texts->t[TEXT_FIRST].len;
			texts->t[TEXT_SECOND].dir = texts->t[TEXT_SECOND].len;
		}
		c->verdict |= VERDICT_CAPTURED;
		to_filter(ctx, &filter_late, c->l.type);
	}
	jump(ctx, &call_programs, CALL_OPEN_EMIT);
	return 0;
}

// finish_sketch appends the directory that the path of an open that failed starts from.
static __always_inline void finish_sketch(struct call *c, struct scratch *s)
{
	if (s->b[OPEN_PATH] != '/')
		c->end = put_call_dir(c->end, 0);
	c->state &= ~OPEN_SKETCHED;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(call_open_texts, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	struct texts *texts = current_texts();
	if (!c || !s || !texts) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	__u32 dir = c->end;
	finish_sketch(c, s);
	texts->forms = FORM_FIRST;
	text_of_section(TEXT_FIRST, OPEN_RAW, dir, c->end);
	to_filter(ctx, &filter_late, c->l.type);
	jump(ctx, &call_programs, CALL_OPEN_EMIT);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(call_open_emit, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	if (!c || !s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	if (c->state & OPEN_SKETCHED)
		finish_sketch(c, s);
	__u32 o = c->end;
	if (c->file)
		fill_file((void *)&s->b[sizeof(struct head) + sizeof(struct section)], c->file);
	if (c->state & OPEN_AS_PASSED) {
		if (s->b[OPEN_PATH] != '/')
			o = put_walked_dir(o);
		o = put_walk(SLOT_CALL, o, TAG_RESOLVED);
	}
	begin_captured(c, s);
	submit(RING_EVENT, SLOT_CALL, o, wakes_reader(c));
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
	submit(RING_EVENT, SLOT_CALL, o, wakes_reader(c));
	return 0;
}
