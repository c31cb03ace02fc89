// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Walking from a dentry to the root, as d_path does, where d_path may not be called.
#pragma once
#include "put.h"
#include "read.h"

#define WALK_DEPTH 256
#define WALK_NEAR 12 // components that are walked without a call for each, which takes as long as its work
#define SB_NOUSER (1UL << 31)
#define TMPFS_MAGIC 0x01021994

enum walk_flag {
	WALK_CUT = 1 << 0,     // more components or bytes than are walked
	WALK_OUTSIDE = 1 << 1, // ended elsewhere than at the task's root
	WALK_BEYOND = 1 << 2,  // went on from the task's root
};

// What changes on the way: it stands on the stack, where there is little room. The rest stands in the buffer.
struct walk {
	__u64 dentry, mount, top; // top: the root of the mount
	struct walk_buffer *w;
	__u32 pos, pad;
};

// Names of up to so many bytes are copied by words, which takes a fifth of the time that the helper does.
#define SHORT_NAME 32

// push_name writes the name of the dentry, after a slash, before pos, and returns the new position; pos itself if it does not fit.
static __always_inline __u32 push_name(struct walk_buffer *b, __u32 pos, __u64 dentry)
{
	__u32 len = KREAD(struct dentry, dentry, d_name.len) & (NAME_LEN - 1);
	__u64 name = (__u64)KREAD(struct dentry, dentry, d_name.name);
	if (pos < len + 1 || pos > PATH_LEN)
		return pos;
	pos -= len + 1;
	pos &= PATH_LEN - 1;
	bpf_probe_read_kernel(&b->b[pos + 1], len, (void *)name);
	b->b[pos] = '/';
	return pos;
}

// push_words is push_name for a name of at most SHORT_NAME bytes, copied by words. The kernel aligns names to words, so that one that begins in a
// name is on its page. The last word of a name may reach into what follows, so head has the eight bytes that follow: to load them, just after they
// were written in parts, would have to wait until they are in the cache.
static __always_inline void push_words(struct walk_buffer *b, __u32 pos, __u32 end, __u64 name, __u32 len, __u64 *head)
{
	__u64 first = KWORD(name), room = len < 7 ? 8 * len : 56; // what the name has of the word that begins with its slash
	barrier_var(room);
	set_word(&b->b[pos + 1], first);
	for (__u32 i = 8; i < SHORT_NAME; i += 8) {
		if (i >= len)
			break;
		set_word(&b->b[pos + 1 + i], KWORD(name + i));
	}
	set_word(&b->b[end], *head);
	*head = *head << 8 << room | (first & ((1ULL << room) - 1)) << 8 | '/';
	set_word(&b->b[pos], *head);
}

// take_step goes one component up. It returns 1 at the end.
static __always_inline long take_step(struct walk *w)
{
	struct walk_buffer *b = w->w;
	__u64 d = w->dentry, mount = w->mount, m = (__u64)KADDR(struct mount, mount, mnt);
	if (d == b->mark_dentry && m == b->mark_mnt)
		b->mark = w->pos;
	if (d == b->root_dentry && m == b->root_mnt) {
		b->root = w->pos;
		if (!b->through) {
			b->flags = 0;
			return 1;
		}
	}
	__u64 parent = (__u64)KREAD(struct dentry, d, d_parent);
	if (d == parent || d == w->top) {
		__u64 up = (__u64)KREAD(struct mount, mount, mnt_parent);
		if (up == mount || !up) {
			b->flags = !b->root ? WALK_OUTSIDE : w->pos != b->root ? WALK_BEYOND : 0;
			return 1;
		}
		w->dentry = (__u64)KREAD(struct mount, mount, mnt_mountpoint);
		w->mount = up;
		w->top = (__u64)KREAD(struct mount, up, mnt.mnt_root);
		return 0;
	}
	__u32 pos = push_name(b, w->pos, d);
	if (pos == w->pos)
		return 1;
	if (!b->leaf)
		b->leaf = w->pos - pos;
	w->pos = pos;
	w->dentry = parent;
	return 0;
}

static long walk_step(__u64 i, struct walk *w)
{
	return take_step(w);
}

// walk_near is walk_step for the components that are near, from 6.2 on: what take_step keeps in memory stands in registers, with its type, so that each
// step is a few loads. It returns 1 at the end.
static __always_inline long walk_near(struct walk *w)
{
	struct walk_buffer *b = w->w;
	struct dentry *d = KCAST(struct dentry, w->dentry), *top = (void *)w->top;
	struct mount *mount = KCAST(struct mount, w->mount);
	__u64 head = 0; // what stands at pos
	__u32 pos = w->pos;
	long ended = 0;
	for (__u32 i = 0; i < WALK_NEAR; i++) {
		if ((__u64)d == b->mark_dentry && (__u64)KADDR(struct mount, mount, mnt) == b->mark_mnt)
			b->mark = pos;
		if ((__u64)d == b->root_dentry && (__u64)KADDR(struct mount, mount, mnt) == b->root_mnt) {
			b->root = pos;
			if (!b->through) {
				b->flags = 0;
				ended = 1;
				break;
			}
		}
		struct dentry *parent = d->d_parent;
		if (d == parent || d == top) {
			struct mount *up = mount->mnt_parent;
			if (up == mount || !up) {
				b->flags = !b->root ? WALK_OUTSIDE : pos != b->root ? WALK_BEYOND : 0;
				ended = 1;
				break;
			}
			d = mount->mnt_mountpoint;
			mount = up;
			top = up->mnt.mnt_root;
			continue;
		}
		__u32 len = d->d_name.len & (NAME_LEN - 1), end = pos;
		__u64 name = (__u64)d->d_name.name;
		if (pos < len + 1 || end > PATH_LEN) {
			ended = 1;
			break;
		}
		pos -= len + 1;
		pos &= PATH_LEN - 1;
		if (len > SHORT_NAME) {
			bpf_probe_read_kernel(&b->b[pos + 1], len, (void *)name);
			b->b[pos] = '/';
			head = word_at(&b->b[pos]);
		} else
			push_words(b, pos, end, name, len, &head);
		if (!b->leaf)
			b->leaf = end - pos;
		d = parent;
	}
	w->dentry = (__u64)d;
	w->mount = (__u64)mount;
	w->top = (__u64)top;
	w->pos = pos;
	return ended;
}

// What climbs from a directory to another one, or to the top of its file system.
struct climb {
	__u64 dentry, to, found;
};

static long climb_step(__u64 i, struct climb *c)
{
	__u64 parent = (__u64)KREAD(struct dentry, c->dentry, d_parent);
	c->found = c->dentry == c->to;
	if (c->found || parent == c->dentry)
		return 1;
	c->dentry = parent;
	return 0;
}

// is_bound reports whether the mount at m shows a directory of the file system that the root is on: what has been opened there has a path
// below the root too, which is the one that rules know.
__noinline int is_bound(__u64 m, __u64 root_mnt)
{
	if (KREAD(struct vfsmount, m, mnt_sb) != KREAD(struct vfsmount, root_mnt, mnt_sb))
		return false;
	struct climb c = {.dentry = (__u64)KREAD(struct vfsmount, m, mnt_root), .to = (__u64)KREAD(struct vfsmount, root_mnt, mnt_root)};
	bpf_loop(WALK_DEPTH, climb_step, &c, 0);
	return c.found;
}

// walk fills the walk buffer with the path of the dentry and mount that stand there, below the root that stands there.
__noinline int walk_in(struct walk_buffer *b)
{
	if (!b)
		return 0;
	b->pos = PATH_LEN;
	b->flags = b->leaf = b->root = 0;
	b->mark = PATH_LEN + 1;
	__u64 d = b->dentry, m = b->mnt;
	if (!d || !m)
		return 0;
	__u64 sb = (__u64)KREAD(struct dentry, d, d_sb);
	if (KREAD(struct super_block, sb, s_flags) & SB_NOUSER) {
		// Pipes, sockets and anonymous inodes have no path. A memfd has a name and no directory.
		if (KREAD(struct super_block, sb, s_magic) == TMPFS_MAGIC)
			b->pos = push_name(b, PATH_LEN, d);
		return 0;
	}
	__u64 root_mnt = b->root_mnt;
	if (b->through && m != root_mnt && is_bound(as_number(m), as_number(root_mnt))) // functions of their own: stacks are small
		m = root_mnt;
	struct walk near = {
		.dentry = d,
		.mount = m - bpf_core_field_offset(struct mount, mnt),
		.top = (__u64)KREAD(struct vfsmount, m, mnt_root),
		.w = b,
		.pos = PATH_LEN,
	};
	long ended = 0;
	b->flags = WALK_CUT; // until it has come to an end
	if (bpf_rdonly_cast)
		ended = walk_near(&near);
	struct walk w = near;
	if (!ended)
		bpf_loop(bpf_rdonly_cast ? WALK_DEPTH - WALK_NEAR : WALK_DEPTH, walk_step, &w, 0); // 5.17
	if (b->flags == WALK_CUT) { // unknown
		b->leaf = 0;
		b->mark = PATH_LEN + 1;
		return 0;
	}
	__u32 pos = w.pos;
	if (pos >= PATH_LEN) {
		b->b[PATH_LEN - 1] = '/';
		pos = PATH_LEN - 1;
	}
	b->pos = pos;
	return 0;
}

// walk_path walks in the slot's buffer. Addresses come through it because global functions take numbers only, and the verifier does not count
// a pointer as one.
__noinline int walk_path(__u32 slot)
{
	return walk_in(walk_of(slot));
}

// aim makes the walk buffer ready for a walk from a dentry and mount to task t's root.
static __always_inline void aim(struct walk_buffer *w, struct task_struct *t, __u64 dentry, __u64 mnt)
{
	w->dentry = dentry;
	w->mnt = mnt;
	t = read_only(t);
	w->root_dentry = (__u64)t->fs->root.dentry;
	w->root_mnt = (__u64)t->fs->root.mnt;
	w->mark_dentry = w->mark_mnt = w->through = 0;
}

// put_path appends the path of a struct path, seen from task t's root.
static __always_inline __u32 put_path(__u32 slot, __u32 o, __u32 tag, struct task_struct *t, __u64 dentry, __u64 mnt)
{
	struct walk_buffer *w = walk_of(slot);
	if (!w)
		return o;
	aim(w, t, dentry, mnt);
	walk_path(slot);
	if (w->flags & WALK_CUT) {
		struct scratch *s = scratch_of(slot);
		if (s)
			set_flag(s, HEAD_PATH_TRUNCATED);
		return o;
	}
	return put_walk(slot, o, tag);
}

// file_of returns the address of the file behind descriptor fd, or 0.
static __always_inline __u64 file_of(struct task_struct *t, __s32 fd)
{
	struct fdtable *fdt = read_only(t)->files->fdt;
	if (fd < 0 || (__u32)fd >= fdt->max_fds)
		return 0;
	return KWORD(fdt->fd + fd);
}

static __always_inline __u32 put_file_path(__u32 slot, __u32 o, __u32 tag, struct task_struct *t, __u64 f)
{
	return put_path(slot, o, tag, t, (__u64)KREAD(struct file, f, f_path.dentry), (__u64)KREAD(struct file, f, f_path.mnt));
}

// put_opened_path appends the path of the file at f, which the current task has opened: as the kernel found it, whatever root and mounts the
// task has made itself.
__noinline int put_opened_path(__u32 slot, __u32 o, __u64 f)
{
	struct walk_buffer *w = walk_of(slot);
	struct scratch *s = scratch_of(slot);
	if (!w || !s || !f)
		return o;
	aim(w, bpf_get_current_task_btf(), (__u64)KREAD(struct file, f, f_path.dentry), (__u64)KREAD(struct file, f, f_path.mnt));
	w->through = 1;
	walk_in(w);
	if (w->flags & WALK_CUT) {
		set_flag(s, HEAD_PATH_TRUNCATED);
		return o;
	}
	return put_walk(slot, o, TAG_RESOLVED);
}

static __always_inline __u32 put_cwd(__u32 slot, __u32 o, __u32 tag, struct task_struct *t)
{
	t = read_only(t);
	return put_path(slot, o, tag, t, (__u64)t->fs->pwd.dentry, (__u64)t->fs->pwd.mnt);
}
