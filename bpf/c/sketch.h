// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Most opens are told by little of their path: by what it begins and ends with, by two neighbouring bytes in it; or by the process's name. That is
// seen in the path as passed, and in the names of dentries on the way up, without a copy. User space makes the sketches from the rules: an open
// that has nothing of what its sketch knows is matched by none; all others are captured, and looked at by the filter (sensor/filter/sketch.go).
#pragma once
#include "call.h"

#define SKETCH_PAIRS 4
#define SKETCH_WORDS 16 // of a set
#define SHAPES 32
#define SKETCH_TYPES 3 // open, openat, creat
#define SKETCH_STEPS 16
#define TAIL_BYTES 4 // of the shorter ones
#define ANY_EXEC 0111

enum sketch_flag {
	SKETCH_MADE = 1 << 0,  // there is one
	SKETCH_NAMES = 1 << 1, // it asks for the process's name
	SKETCH_EXEC = 1 << 2,  // for a mode that lets somebody execute the file
	SKETCH_WHERE = 1 << 3, // for what the path as passed does not tell
	SKETCH_TAILS = 1 << 4,
	SKETCH_PATH_PAIRS = 1 << 5, // for pairs in the whole path, not only as passed
	SKETCH_CHECK = 1 << 6,      // what it drops is emitted, to be checked
};

// Sets are of numbers by their hash: others than what was put in may seem to be there.
struct sketch {
	__u32 flags, pairs;
	__u64 first[SKETCH_PAIRS], second[SKETCH_PAIRS]; // in each byte
	__u64 heads[SKETCH_WORDS];                       // first eight bytes of a path
	__u64 short_heads[SKETCH_WORDS];                 // first four
	__u64 tails[SKETCH_WORDS];                       // last eight, if none is a slash
	__u64 short_tails[SKETCH_WORDS];                 // last four
	__u64 names[SKETCH_WORDS];                       // first eight of a process's name
};

// By shape, for each type, twice: those of one set of rules are written while those of another are read.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * SKETCH_TYPES *SHAPES);
	__type(key, __u32);
	__type(value, struct sketch);
} sketches SEC(".maps");

// 1 of so many drops is emitted, on average.
const volatile __u32 sample_every = 1;

static __always_inline bool may_have(const __u64 *set, __u64 x)
{
	__u64 h = x * 0x9e3779b97f4a7c15ULL >> 54;
	return set[h / 64] >> (h % 64) & 1;
}

static __always_inline bool may_have_head(struct sketch *k, __u64 head)
{
	return may_have(k->heads, head) || may_have(k->short_heads, (__u32)head);
}

// may_have_tail does that for the last eight bytes of a path. Where it has only four they are the last four of them.
static __always_inline bool may_have_tail(struct sketch *k, __u64 tail)
{
	return may_have(k->tails, tail) || may_have(k->short_tails, tail >> 32);
}

// pairs_in adds bits to hit where one of a sketch's pairs stands, of eight places: w are the bytes there, w1 those that follow. That hit may have some
// already keeps the verifier from following what it is.
static __always_inline __u64 pairs_in(struct sketch *k, __u64 hit, __u64 w, __u64 w1)
{
	for (__u32 i = 0; i < SKETCH_PAIRS; i++) {
		if (i >= k->pairs)
			break;
		hit |= zero_bytes(w ^ k->first[i]) & zero_bytes(w1 ^ k->second[i]);
	}
	return hit;
}

// passed_has_pair reports whether one of a sketch's pairs may stand in the path as passed, of n bytes.
static __always_inline bool passed_has_pair(struct scratch *s, struct sketch *k, __u32 n)
{
	__u64 hit = n & TEXT_LEN;
	for (__u32 i = 0; i < TEXT_LEN; i += 8) {
		if (i >= n)
			break;
		hit = pairs_in(k, hit, word_at(&s->b[OPEN_PATH + i]), word_at(&s->b[OPEN_PATH + i + 1]));
	}
	return hit;
}

// name_has_pair reports whether one of a sketch's pairs may stand in the name of a component and the slash before it. None ends with a slash.
static __always_inline bool name_has_pair(struct sketch *k, struct dentry *d)
{
	__u32 len = d->d_name.len;
	__u64 name = (__u64)d->d_name.name, w = KWORD(name), hit = (len - 1) & ~(SHORT_NAME - 1); // all of it is looked at
	hit = pairs_in(k, hit, w << 8 | '/', w);
	for (__u32 i = 8; i < SHORT_NAME; i += 8) {
		if (i >= len)
			break;
		__u64 next = KWORD(name + i);
		hit = pairs_in(k, hit, w >> 56 | next << 8, next);
		w = next;
	}
	return hit;
}

// is_clean reports whether cleaning the path as passed, of n bytes, would change nothing, and whether it has two components, if it is absolute.
static __always_inline bool is_clean(struct scratch *s, __u32 n)
{
	__u64 unclean = 0, slashes = 0, last = 0;
	for (__u32 i = 0; i < TEXT_LEN; i += 8) {
		if (i >= n)
			break;
		__u64 w = word_at(&s->b[OPEN_PATH + i]), w1 = word_at(&s->b[OPEN_PATH + i + 1]), slash = zero_bytes(w ^ EVERY('/'));
		unclean |= slash & (zero_bytes(w1 ^ EVERY('/')) | zero_bytes(w1 ^ EVERY('.')));
		slashes |= last;
		last = i ? slash : slash & ~0xffULL;
	}
	slashes |= of_last(last, n);
	return !unclean && s->b[OPEN_PATH - 1 + n] != '/' && s->b[OPEN_PATH] != '.' && (slashes || s->b[OPEN_PATH] != '/');
}

// joined is the first eight bytes of a path: head are those of its first component, whose name has len bytes, rest those of what follows, of more
// bytes without its slash. It is 0 if all that is too short.
static __always_inline __u64 joined(__u64 head, __u32 len, __u64 rest, __u32 more)
{
	if (len >= 7)
		return head;
	if (len + more < 6)
		return 0;
	__u64 room = 8 * (len + 1);
	barrier_var(room);
	return (head & ((1ULL << room) - 1)) | rest << room;
}

// beginning is the first eight bytes of the slash before the name of d and the name.
static __always_inline __u64 beginning(struct dentry *d)
{
	return KWORD((__u64)d->d_name.name) << 8 | '/';
}

// tail_of is the last eight bytes of the name of d, or four of it and the slash before it if it is shorter, as those are the last of eight; 0 if they
// are too few. The root of a mount has a name of a byte.
static __always_inline __u64 tail_of(struct dentry *d)
{
	__u32 len = d->d_name.len;
	__u64 name = (__u64)d->d_name.name;
	if (len >= 8)
		return KWORD(name + len - 8);
	if (len >= TAIL_BYTES)
		return KWORD(name + len - TAIL_BYTES) << 32;
	return len == TAIL_BYTES - 1 ? (KWORD(name) << 8 | '/') << 32 : 0;
}

// Where a path is looked at: from a dentry and a mount up to a root. It stands in memory: of what stands on the stack the verifier would follow
// each value. That is where the record's head will be, which is made last.
struct climb_to {
	__u64 dentry, mnt, root_dentry, root_mnt;
	__u64 dir, dir_mnt; // a directory that may be passed on the way; 0: none
	__u64 head;         // out: first eight bytes of the path; 0: they are not known
	__u64 below;        // what of the path stands just below it
	__u32 len;          // of the first component
	__u32 two;          // 1: there is a second one, else head ends with the first
	__u32 passed;       // 1: it was passed, in the same mount, and its path has two components
};

_Static_assert(sizeof(struct climb_to) <= sizeof(struct head) - __builtin_offsetof(struct head, time), "there is no room in the head");

// climb_up goes from where v says to its root, and finds how the path begins. It reports false if the path is not just below the root, or is the
// root, if it cannot tell, or if one of a sketch's pairs may stand there.
__noinline int climb_up(struct sketch *k, struct climb_to *v)
{
	if (!k || !v || !bpf_rdonly_cast)
		return false;
	__u64 mnt = v->mnt;
	if (mnt != v->root_mnt && KREAD(struct vfsmount, mnt, mnt_sb) == KREAD(struct vfsmount, v->root_mnt, mnt_sb))
		return false; // the mount may show what has a path below the root, too: see is_bound
	struct dentry *d = KCAST(struct dentry, v->dentry), *first = NULL, *second = NULL;
	struct mount *mount = KCAST(struct mount, mnt - bpf_core_field_offset(struct mount, mnt));
	struct dentry *top = mount->mnt.mnt_root;
	bool rooted = false;
	v->passed = 0;
	for (__u32 i = 0; i < SKETCH_STEPS; i++) {
		if ((__u64)d == v->dir && (__u64)KADDR(struct mount, mount, mnt) == v->dir_mnt) {
			v->below = (__u64)first;
			v->passed = 1;
		}
		if ((__u64)d == v->root_dentry && (__u64)KADDR(struct mount, mount, mnt) == v->root_mnt)
			rooted = true;
		struct dentry *parent = d->d_parent;
		if (d == parent || d == top) {
			struct mount *up = mount->mnt_parent;
			if (up == mount || !up)
				break;
			d = mount->mnt_mountpoint;
			mount = up;
			top = up->mnt.mnt_root;
			continue;
		}
		if (rooted || i == SKETCH_STEPS - 1 || (k->flags & SKETCH_PATH_PAIRS && name_has_pair(k, d)))
			return false;
		second = first;
		first = d;
		d = parent;
	}
	if (!rooted || !first)
		return false;
	v->head = beginning(first);
	v->len = first->d_name.len;
	v->two = !!second;
	if (second)
		v->head = joined(v->head, v->len, beginning(second), second->d_name.len);
	if (mnt != v->dir_mnt || (__u64)first == v->below || (__u64)second == v->below)
		v->passed = 0;
	return true;
}

// file_told looks at the path of file f. It reports false if there is what a sketch asks for.
static __always_inline bool file_told(struct sketch *k, struct climb_to *v, __u64 f)
{
	v->dentry = (__u64)KREAD(struct file, f, f_path.dentry);
	v->mnt = (__u64)KREAD(struct file, f, f_path.mnt);
	if (!bpf_rdonly_cast || !climb_up(k, v) || !v->two) // it is in the root
		return false;
	if (k->flags & SKETCH_TAILS) {
		__u64 tail = tail_of(KCAST(struct dentry, v->dentry));
		if (!tail || may_have_tail(k, tail))
			return false;
	}
	return v->head && !may_have_head(k, v->head);
}

// aim_start finds the directory that a relative path starts from. It reports false if there is none.
static __always_inline bool aim_start(struct climb_to *v, struct call *c, struct task_struct *t)
{
	__s32 fd = c->l.dir ? (__s32)arg(c, c->l.dir) : AT_FDCWD;
	if (fd == AT_FDCWD) {
		v->dir = (__u64)t->fs->pwd.dentry;
		v->dir_mnt = (__u64)t->fs->pwd.mnt;
		return true;
	}
	__u64 dir = file_of(t, fd);
	if (!dir)
		return false;
	v->dir = (__u64)KREAD(struct file, dir, f_path.dentry);
	v->dir_mnt = (__u64)KREAD(struct file, dir, f_path.mnt);
	return true;
}

// start_told is file_told for that directory: what is passed, of n bytes, continues its path.
static __always_inline bool start_told(struct sketch *k, struct climb_to *v, __u64 passed, __u32 n)
{
	v->dentry = v->dir;
	v->mnt = v->dir_mnt;
	if (!climb_up(k, v))
		return false;
	__u64 head = v->two ? v->head : joined(v->head, v->len, passed << 8 | '/', n);
	return head && !may_have_head(k, head);
}

// asks_of_process reports whether a sketch asks for the name of the process that runs.
static __always_inline bool asks_of_process(struct sketch *k)
{
	struct process *p = bpf_task_storage_get(&processes, bpf_get_current_task_btf()->group_leader, 0, 0);
	if (!p)
		return true;
	__u64 name = word_at(p->comm);
	return !(name & 0xff) || may_have(k->names, name);
}

// passed_len is how long the path as passed is. It is read again and again: the verifier would follow what a loop tells of it.
static __always_inline __u32 passed_len(struct call *c)
{
	__u32 n = *(volatile __u32 *)&c->end - OPEN_PATH;
	BOUND(n);
	return n;
}

// told reports whether no rule can match an open, by its sketch k: the path as passed stands in the scratch; f is the file. Both forms of the path are
// looked at, as rules do.
static __always_inline bool told(struct call *c, struct scratch *s, struct sketch *k, struct task_struct *t, __u64 f)
{
	if (c->end < OPEN_PATH + TAIL_BYTES || c->end >= OPEN_PATH + TEXT_LEN || (c->result >= 0 && !f))
		return false;
	if (may_have_tail(k, word_at(&s->b[OPEN_PATH - 8 + passed_len(c)])) || (k->flags & SKETCH_NAMES && asks_of_process(k)) || (k->pairs && passed_has_pair(s, k, passed_len(c))))
		return false;
	if (!(k->flags & SKETCH_WHERE))
		return true;
	if (!is_clean(s, passed_len(c)))
		return false;
	struct climb_to *v = (void *)&((struct head *)s->b)->time;
	v->root_dentry = (__u64)t->fs->root.dentry;
	v->root_mnt = (__u64)t->fs->root.mnt;
	v->dir = 0;
	__u64 passed = word_at(&s->b[OPEN_PATH]);
	bool relative = (__u8)passed != '/';
	if (relative ? !aim_start(v, c, t) || pairs_in(k, 0, passed << 8 | '/', passed) : may_have_head(k, passed))
		return false;
	if (f && !file_told(k, v, f))
		return false;
	if (!relative || (f && v->passed)) // what its path begins with is what the file's does
		return true;
	return start_told(k, v, passed, passed_len(c));
}

// open_flags_of are the flags of an open that has them in a register, or none.
static __always_inline __u32 open_flags_of(struct call *c)
{
	return c->l.flags & CALL_CREAT ? O_CREAT | O_WRONLY | O_TRUNC : arg(c, c->l.open_flags);
}

// count_sketched counts an open that is dropped for its sketch. It reports false where this is one of those to be checked, which then has the
// verdict.
static __always_inline bool count_sketched(struct call *c, struct sketch *k)
{
	__u32 type = c->l.type;
	struct filter_count *n = bpf_map_lookup_elem(&filter_counts, &type);
	if (!n)
		return false;
	n->dropped[STAGE_SKETCH]++;
	if (!(k->flags & SKETCH_CHECK)) {
		if (--n->countdown > 0)
			return true;
		n->sampled++;
		n->countdown = bpf_get_prandom_u32() % (2 * sample_every) + 1;
	}
	c->verdict = VERDICT_DROP | VERDICT_EMIT;
	return false;
}

// short_path reads the path as passed, if it is short, and returns where the record ends; 0 if it is not. It is read by way of the stack: kernels that
// look at what memory user memory is copied to find that at once, and maps by a search.
static __always_inline __u32 short_path(struct call *c, struct scratch *s)
{
	__u64 word[TEXT_LEN / 8];
	long n = bpf_probe_read_user_str(word, TEXT_LEN, (void *)arg(c, c->l.path));
	if (n <= 1 || n >= TEXT_LEN)
		return 0;
	for (__u32 i = 0; i < TEXT_LEN / 8; i++) {
		if (8 * i >= n)
			break;
		set_word(&s->b[OPEN_PATH + 8 * i], word[i]);
	}
	put_section(s, OPEN_RAW, TAG_RAW, n - 1);
	return OPEN_PATH + n - 1;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(call_sketch, struct pt_regs *regs, long result)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	if (!c || !s) {
		count_loss(RING_EVENT, LOSS_SCRATCH);
		return 0;
	}
	struct task_struct *t = bpf_rdonly_cast ? KCAST(struct task_struct, c->task) : bpf_get_current_task_btf(); // 5.11
	__u32 flags = open_flags_of(c), i = (c->l.sketches - 1) * SHAPES + open_shape(flags, result);
	struct sketch *k = bpf_map_lookup_elem(&sketches, &i);
	if (!k || !(k->flags & SKETCH_MADE))
		goto captured;
	if (k->flags & SKETCH_EXEC && flags & (O_CREAT | O_TMPFILE) && arg(c, c->l.open_mode) & ANY_EXEC)
		goto captured;
	((struct head *)s->b)->flags = 0;
	c->end = paths_copied ? put_raw_path(c, s, OPEN_RAW, 0) : short_path(c, s);
	__u64 f = result >= 0 ? file_of(t, result) : 0;
	if (!told(c, s, k, t, f) || !count_sketched(c, k))
		goto captured;
	if (c->l.record && f && KREAD(struct file, f, f_mode) & FMODE_CREATED && !is_limited(c, t))
		jump(ctx, &call_programs, CALL_RECORD);
	return 0;
captured:
	jump(ctx, &call_programs, CALL_OPEN);
	return 0;
}
