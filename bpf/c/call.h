// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// System calls: one program at their end decides by a bitmap whether anybody wants this one, and jumps to the program that captures it.
// Which argument is what stands in a table that user space fills, so that the programs know neither architecture nor call numbers.
#pragma once
#include "destination.h"
#include "open_shape.h"
#include "process.h"

// Indices of the call table: native calls, those of x32 that have numbers of their own included; those of ia32; those behind socketcall.
#define CALLS_NATIVE 576
#define CALLS_COMPAT 512
#define CALLS_SOCKET 32
#define CALLS (CALLS_NATIVE + CALLS_COMPAT + CALLS_SOCKET)
#define WORDS(n) (((n) + 63) / 64)

#define X32_BIT 0x40000000
#define TS_COMPAT 2
#define AT_FDCWD (-100)

enum call_program {
	CALL_OPEN,
	CALL_EXEC,
	CALL_SOCKET,
	CALL_MESSAGES,
	CALL_GENERIC,
	CALL_OPEN_EMIT, // what follows a capture
	CALL_GENERIC_EMIT,
	CALL_RECORD, // no rule can match: the flight recorder's say
	CALL_SOCKET_EMIT,
	CALL_SKETCH,     // what of an open is enough for most
	CALL_OPEN_TEXTS, // what a filter program wants to know besides of an open that failed
	CALL_URING,      // io_uring_enter, whoever wants it: a request may have been carried out of which no completion tells
	CALL_PROGRAMS
};

enum call_flag {
	CALL_FAILED_ONLY = 1 << 0,   // success is reported elsewhere
	CALL_SOCKETCALL = 1 << 1,    // the first argument is the call, the second points to its arguments
	CALL_CREAT = 1 << 2,         // no flags argument: O_CREAT|O_WRONLY|O_TRUNC
	CALL_NEW_FD = 1 << 3,        // the result is the descriptor that the event is about
	CALL_ACCEPTS = 1 << 4,       // the new descriptor is an accepted connection
	CALL_MSGHDR = 1 << 5,        // data and address stand in a struct msghdr
	CALL_RECEIVES = 1 << 6,      // data are the result's, not the argument's
	CALL_ONLY_FASTOPEN = 1 << 7, // nobody wants the call but as a connect
};

// A call_layout says where the arguments of a call are: position plus one; 0: it has none.
struct call_layout {
	__u16 type;
	__u8 program, flags;
	__u8 path, dir, path2, dir2;
	__u8 fd, data, size, addr, addr_len;
	__u8 open_flags, open_mode, open_how;
	__u8 texts;  // 1: a filter program looks at the paths, or at the ends of the socket
	__u8 record; // enum record_interest
	__u8 bits_arg; // the second or the third argument, if no rule can match without one of bits in it
	__u8 sketches; // of an open: place of the first of its type, divided by SHAPES, plus one; 0: it has none
	__u32 bits;
	__u32 dropped_shapes; // of an open with its flags in a register: those that no rule can match, as bits
	__u32 kept_shapes;    // and those that the filter's first program would keep
} __attribute__((aligned(8))); // so that it is copied by words

// What the flight recorder has to do with a call.
enum record_interest { RECORD_NOT, RECORD_TOO, RECORD_ONLY };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CALLS);
	__type(key, __u32);
	__type(value, struct call_layout);
} call_layouts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, CALL_PROGRAMS);
	__type(key, __u32);
	__type(value, __u32);
} call_programs SEC(".maps");

// What somebody wants: by call number whatever the ABI, then exactly.
volatile __u64 interest_any[WORDS(CALLS_NATIVE)] = {};
volatile __u64 interest[WORDS(CALLS)] = {};

// Path arguments that were read before the call's end: on backend T when it began (enter.h), on backend L as the kernel copied them
// (copied.h).
#define ENTERED_LEN 512  // of a path that is kept; longer ones are known by their hash alone, on backend L not at all
#define ENTERED_NONE -1U // not seen; on backend L only

struct entered {
	__u32 index, pad; // of the call plus one; 0: none
	__u32 len[2], hash[2];
	char path[2][ENTERED_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct entered);
} entered_of SEC(".maps");

// Calls whose paths are read early.
volatile __u64 interest_enter_any[WORDS(CALLS_NATIVE)] = {};
volatile __u64 interest_enter[WORDS(CALLS)] = {};

// 1: backend L is attached.
volatile __u32 paths_copied = 0;

// The address that the kernel copied last for a socket call of a task (copied.h).
#define SOCKADDR_LEN 110

struct copied_address {
	__u64 sock;
	__u32 nr, len;
	__u8 b[SOCKADDR_LEN + 2];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct copied_address);
} addresses_of SEC(".maps");

// 1: backend L's programs that see addresses are attached.
volatile __u32 addresses_copied = 0;

// The processes whose calls are no events: the sensor's own, and those that it passes over. What such a process execs is none of them.
volatile struct self selves[SELVES] = {};

// A message is one struct msghdr, or the arguments of sendto and recvfrom.
struct message {
	__u64 name, data, size;
	__u32 name_len, data_len;
};

// Events that did not leave for the flight recorder, beyond its rate, and whose the last of them was: until the clock ticks, those of the same
// cgroups do not leave either, so that a flood pays for a look at its cgroup once a tick. They are told by the address of the task's css_set; one
// that comes to stand where another was freed within the tick would lose what is left of it.
struct record_limit {
	__u64 events, cgroups, tick;
};

// The call that is being captured, for the program that the dispatcher jumps to.
struct call {
	__u64 args[6];
	__s64 result;
	__u32 index, compat;
	__u32 verdict;               // of the filter
	__u32 open_flags, open_mode; // of an open, once captured
	__u32 open_kind;             // enum open_kind
	__u32 cgroup_kind;           // enum cgroup_kind, as a filter program found it
	__u64 names[4];              // which sets of names the task's is in, as a filter program found it
	__u32 from, end;             // of what has been captured: after the numbers, and in all
	__u32 state;                 // of a capture, for the program that sends it
	__u32 copied;                // 1: entered_of holds the paths as the kernel copied them
	__u32 sockaddr;              // where the address as passed stands in the scratch; 0: nowhere
	__u32 nr;                    // as the registers have it
	__u64 file;                  // of an open
	struct record_limit limit;   // not of the call: of all of them on this processor
	struct call_layout l;
	struct message m;
	struct socket_facts socket; // of a capture, for a filter program
	struct exec_text exec[EXEC_TEXTS]; // of an exec, for a filter program
	__u64 task; // that makes the call
};

// A fork, an exec or an exit (life.h) has one of its own: of it the verdict counts, the result, and where the record ends.
enum { CURRENT_CALL, CURRENT_PROCESS, CURRENTS };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CURRENTS);
	__type(key, __u32);
	__type(value, struct call);
} current_calls SEC(".maps");

static __always_inline struct call *current_call(void)
{
	__u32 i = CURRENT_CALL;
	return bpf_map_lookup_elem(&current_calls, &i);
}

static __always_inline bool has_bit(volatile __u64 *words, __u32 i)
{
	return words[i / 64] >> (i % 64) & 1;
}

#if defined(__TARGET_ARCH_x86)
static __always_inline bool is_compat(struct task_struct *t)
{
	return t->thread_info.status & TS_COMPAT;
}

static __always_inline void read_args(struct call *c, struct pt_regs *r)
{
	if (c->index >= CALLS_NATIVE) {
		c->args[0] = (__u32)r->bx;
		c->args[1] = (__u32)r->cx;
		c->args[2] = (__u32)r->dx;
		c->args[3] = (__u32)r->si;
		c->args[4] = (__u32)r->di;
		c->args[5] = (__u32)r->bp;
		return;
	}
	c->args[0] = r->di;
	c->args[1] = r->si;
	c->args[2] = r->dx;
	c->args[3] = r->r10;
	c->args[4] = r->r8;
	c->args[5] = r->r9;
}

// register_arg is the second or the third argument of a native call.
static __always_inline __u64 register_arg(struct pt_regs *r, __u32 place)
{
	return place == 3 ? r->dx : r->si;
}
#else
#define TIF_32BIT 22

static __always_inline bool is_compat(struct task_struct *t)
{
	return t->thread_info.flags >> TIF_32BIT & 1;
}

static __always_inline void read_args(struct call *c, struct pt_regs *r)
{
	c->args[0] = r->orig_x0;
	c->args[1] = r->regs[1];
	c->args[2] = r->regs[2];
	c->args[3] = r->regs[3];
	c->args[4] = r->regs[4];
	c->args[5] = r->regs[5];
}

static __always_inline __u64 register_arg(struct pt_regs *r, __u32 place)
{
	return place == 3 ? r->regs[2] : r->regs[1];
}
#endif

// call_index is the call's index in the table, CALLS if it has none.
static __always_inline __u32 call_index(__u64 nr, struct task_struct *t)
{
	if (is_compat(t))
		return nr < CALLS_COMPAT ? CALLS_NATIVE + nr : CALLS;
	nr &= ~(__u64)X32_BIT;
	return nr < CALLS_NATIVE ? nr : CALLS;
}

// pass_over reports whether the task is of a process whose calls are no events, and counts the call.
static __always_inline bool pass_over(struct task_struct *t)
{
	__u32 pid = t->tgid;
	for (__u32 i = 0; i < SELVES; i++) {
		if (selves[i].pid != pid || selves[i].start != t->group_leader->start_boottime || selves[i].exec != (__u32)t->self_exec_id)
			continue;
		__u64 *n = bpf_map_lookup_elem(&exempted, &i);
		if (n)
			*n += 1;
		return true;
	}
	return false;
}

// unpack_socketcall replaces the arguments of a socketcall by those of the call behind it.
static __always_inline bool unpack_socketcall(struct call *c)
{
	__u32 args[6] = {}, n = c->args[0];
	barrier_var(n);
	if (n >= CALLS_SOCKET)
		return false;
	c->index = CALLS_NATIVE + CALLS_COMPAT + n;
	if (!has_bit(interest, c->index))
		return false;
	// Calls have two to six arguments; what stands behind the last is not used, but may be unmapped.
	if (bpf_probe_read_user(args, sizeof(args), (void *)c->args[1]) && bpf_probe_read_user(args, 12, (void *)c->args[1]))
		return false;
	for (int i = 0; i < 6; i++)
		c->args[i] = args[i];
	struct call_layout *l = bpf_map_lookup_elem(&call_layouts, &c->index);
	if (!l)
		return false;
	c->l = *l;
	return true;
}

// take_copied reports whether backend L has seen the kernel copy a path of the call that ends, which nobody must take for one of the next.
static __always_inline bool take_copied(struct task_struct *t, __u32 index)
{
	barrier_var(index);
	if (!paths_copied || index >= CALLS || !has_bit(interest_enter, index))
		return false;
	struct entered *e = bpf_task_storage_get(&entered_of, t, 0, 0);
	if (!e)
		return false;
	bool copied = e->index == index + 1;
	e->index = 0;
	return copied;
}

// makes_no_file reports whether the call is an open that visibly made no file: the recorder does not want it.
static __always_inline bool makes_no_file(struct call *c)
{
	if (c->l.program != CALL_OPEN)
		return false;
	if (c->result < 0)
		return true;
	__u32 at = c->l.open_flags - 1;
	return at < 6 && !(c->args[at & 7] & (O_CREAT | O_TMPFILE));
}

// How many rings have an open that has not been looked at (uring_file.h), or more.
volatile __u32 uring_opens_len = 0;

SEC("tp_btf/sys_exit")
int BPF_PROG(call_exit, struct pt_regs *regs, long result)
{
	__u64 nr = call_number(regs) & ~(__u64)X32_BIT;
	barrier_var(nr);
	if (nr >= CALLS_NATIVE || !has_bit(interest_any, nr))
		return 0;
	struct task_struct *t = bpf_get_current_task_btf(); // 5.11
	__u32 i = call_index(nr, t);
	barrier_var(i);
	if (i >= CALLS || !has_bit(interest, i))
		return 0;
	if (result <= -512 && result >= -516) { // the call goes on after a signal
		if (watch_destinations)
			take_destinations(t);
		return 0;
	}
	struct call_layout *l = bpf_map_lookup_elem(&call_layouts, &i);
	if (!l || (l->flags & CALL_FAILED_ONLY && result >= 0))
		return 0;
	bool copied = take_copied(t, i);
	__u32 shape = 1 << open_shape(register_arg(regs, l->open_flags), result);
	if (i >= CALLS_NATIVE)
		shape = 0;
	if (l->dropped_shapes & shape && count_early_drop(l->type))
		return 0;
	if (l->bits_arg && !(register_arg(regs, l->bits_arg) & l->bits) && count_early_drop(l->type))
		return 0;
	if (l->program == CALL_URING && !l->type && !uring_opens_len)
		return 0;
	struct call *c = current_call();
	if (!c)
		return 0;
	if (pass_over(t))
		return 0;
	c->index = i;
	c->result = result;
	c->nr = call_number(regs);
	c->compat = i >= CALLS_NATIVE || c->nr & X32_BIT;
	c->verdict = 0;
	c->end = 0;
	c->copied = copied;
	c->task = (__u64)t;
	c->l = *l;
	read_args(c, regs);
	if (l->flags & CALL_SOCKETCALL && !unpack_socketcall(c))
		return 0;
	if (c->l.program == CALL_SOCKET || c->l.program == CALL_MESSAGES)
		take_destinations(t); // whatever becomes of this call: they are not the next one's
	if (c->l.record && makes_no_file(c)) {
		if (c->l.record == RECORD_ONLY)
			return 0;
		c->l.record = RECORD_NOT;
	}
	if (c->l.record == RECORD_ONLY) {
		jump(ctx, &call_programs, CALL_RECORD);
		return 0;
	}
	if (l->kept_shapes & shape)
		jump(ctx, &call_programs, CALL_SKETCH);
	if (c->l.program == CALL_URING)
		jump(ctx, &call_programs, CALL_URING);
	to_filter(ctx, &filter_early, c->l.type); // goes on to the next by itself
	if (c->l.program == CALL_GENERIC)
		jump(ctx, &call_programs, CALL_GENERIC);
	else
		bpf_tail_call(ctx, &call_programs, c->l.program);
	return 0;
}

// arg returns the argument at position i plus one; 0 if there is none.
static __always_inline __u64 arg(struct call *c, __u32 i)
{
	i -= 1;
	return i < 6 ? c->args[i & 7] : 0;
}

// is_limited reports whether the recorder wants nothing of the task's cgroups until the clock ticks, and counts the call.
static __always_inline bool is_limited(struct call *c, struct task_struct *t)
{
	struct record_limit *l = &c->limit;
	if (l->cgroups != (__u64)t->cgroups || l->tick != bpf_jiffies64()) // 5.5
		return false;
	l->events++;
	return true;
}

// begin_call makes the head of the current call's record.
static __always_inline struct head *begin_call(struct call *c, struct scratch *s)
{
	struct head *h = begin(s, SLOT_CALL, KIND_CALL, c->l.type, c->result);
	h->nr = c->index;
	if (c->compat)
		h->flags |= HEAD_COMPAT;
	if (c->verdict & VERDICT_DROP)
		h->flags |= HEAD_DROPPED;
	if (c->verdict & VERDICT_RECORD)
		h->flags |= HEAD_RECORDED;
	return h;
}

// begin_captured is begin_call for a record whose sections are there already.
static __always_inline struct head *begin_captured(struct call *c, struct scratch *s)
{
	__u32 flags = ((struct head *)s->b)->flags;
	struct head *h = begin_call(c, s);
	h->flags |= flags;
	return h;
}

// wakes_reader reports whether somebody waits for the current call.
static __always_inline bool wakes_reader(struct call *c)
{
	return !(c->verdict & VERDICT_DROP);
}

// put_call_dir appends the directory that the first (0) or second (1) path argument starts from if it is relative.
__noinline int put_call_dir(__u32 o, __u32 second)
{
	struct call *c = current_call();
	struct task_struct *t = bpf_get_current_task_btf();
	if (!c)
		return o;
	__u32 dir = second ? c->l.dir2 : c->l.dir;
	second = second ? 1 : 0;
	__s32 fd = dir ? (__s32)arg(c, dir) : AT_FDCWD;
	if (fd == AT_FDCWD)
		return put_cwd(SLOT_CALL, o, TAG_DIR + second, t);
	__u64 f = file_of(t, fd);
	return f ? put_file_path(SLOT_CALL, o, TAG_DIR + second, t, f) : o;
}

// put_copied appends the first (0) or second (1) path argument as the kernel copied it. Where it is not known, the record is unstable.
__noinline int put_copied(__u32 o, __u32 second)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	struct entered *e = bpf_task_storage_get(&entered_of, bpf_get_current_task_btf(), 0, 0);
	second = second ? 1 : 0;
	if (!c || !s || o > RECORD_MAX)
		return o;
	__u32 len = e && c->copied ? e->len[second] : ENTERED_NONE;
	if (!e || len >= ENTERED_LEN) {
		set_flag(s, HEAD_UNSTABLE);
		return o;
	}
	if (len)
		bpf_probe_read_kernel(&s->b[o + 4], len, e->path[second]);
	put_section(s, o, TAG_RAW + second, len);
	return o + 4 + len;
}

// put_raw_path appends the first (0) or second (1) path argument as passed.
static __always_inline __u32 put_raw_path(struct call *c, struct scratch *s, __u32 o, __u32 second)
{
	__u64 p = arg(c, second ? c->l.path2 : c->l.path);
	__u32 i = c->index;
	barrier_var(i);
	if (p && paths_copied && i < CALLS && has_bit(interest_enter, i)) {
		__u32 end = put_copied(o, second);
		if (end != o)
			return end;
	}
	return user_string(s, o, TAG_RAW + second, p);
}

// put_call_path appends the first (0) or second (1) path argument: as passed and, where it is relative or always is set, the directory
// it starts from.
__noinline int put_call_path(__u32 o, __u32 second, __u32 always)
{
	struct call *c = current_call();
	struct scratch *s = scratch_of(SLOT_CALL);
	if (!c || !s || o > RECORD_MAX)
		return o;
	__u32 from = o;
	second = second ? 1 : 0;
	o = put_raw_path(c, s, o, second);
	if (o == from || (s->b[from + 4] == '/' && !always))
		return o;
	return put_call_dir(o, second);
}
