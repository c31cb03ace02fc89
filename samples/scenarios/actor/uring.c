// SPDX-License-Identifier: Apache-2.0
/* Verbs that make calls by way of an io_uring, without a system call of their name. */
#define _GNU_SOURCE
#include "actor.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Newer than the headers of some systems. */
enum { OP_SOCKET = 45, OP_SEND_ZC = 47, OP_INSTALL = 54, OP_FTRUNCATE = 55, OP_BIND = 56, OP_LISTEN = 57 };
enum { CQE_SKIP = 1 << 6, TIMEOUT_NO_ERROR = 1 << 5 };

static struct {
	int fd;
	bool sqpoll, skip, direct, fixed;
	char *ring;
	struct io_uring_sqe *sqes;
	struct io_uring_params p;
	unsigned queued;
} ring = {.fd = -1};

#define AT(off) ((_Atomic unsigned *)(ring.ring + (off)))

/* ring [sqpoll] [skip] [direct] [fixed]: an io_uring; polled by a thread of the kernel; without completions; with descriptors of its own, which it makes;
 * which requests about sockets use. */
static long make_ring(struct step *s)
{
	for (int i = 1; i < s->n; i++) {
		bool sqpoll = !strcmp(s->word[i], "sqpoll"), skip = !strcmp(s->word[i], "skip");
		bool direct = !strcmp(s->word[i], "direct"), fixed = !strcmp(s->word[i], "fixed");
		if (!sqpoll && !skip && !direct && !fixed)
			die("a ring is sqpoll, skip, direct or fixed");
		ring.sqpoll |= sqpoll;
		ring.skip |= skip;
		ring.direct |= direct;
		ring.fixed |= fixed;
	}
	ring.p.flags = ring.sqpoll ? IORING_SETUP_SQPOLL : 0;
	ring.p.sq_thread_idle = 1000;
	ring.fd = syscall(SYS_io_uring_setup, 16, &ring.p);
	if (ring.fd < 0)
		return -errno;
	size_t size = ring.p.cq_off.cqes + ring.p.cq_entries * sizeof(struct io_uring_cqe), sq = ring.p.sq_off.array + ring.p.sq_entries * 4;
	ring.ring = mmap(NULL, size > sq ? size : sq, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);
	ring.sqes = mmap(NULL, ring.p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQES);
	if (ring.ring == MAP_FAILED || ring.sqes == MAP_FAILED)
		return -errno;
	int none[4] = {-1, -1, -1, -1};
	if (ring.direct && syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, none, 4) < 0)
		return -errno;
	return ring.fd;
}

static void fill(struct io_uring_sqe *e, const char *op, int n, char **word)
{
	long a[MAX_ARGS];
	arguments(n, word, a);
	memset(e, 0, sizeof(*e));
	e->fd = a[0];
	if (!strcmp(op, "openat")) {
		*e = (struct io_uring_sqe){.opcode = IORING_OP_OPENAT, .fd = a[0], .addr = a[1], .open_flags = a[2], .len = a[3]};
	} else if (!strcmp(op, "openat2")) {
		*e = (struct io_uring_sqe){.opcode = IORING_OP_OPENAT2, .fd = a[0], .addr = a[1], .off = a[2], .len = a[3]};
	} else if (!strcmp(op, "timeout")) { /* milliseconds */
		struct __kernel_timespec *wait = low(sizeof(*wait));
		*wait = (struct __kernel_timespec){a[0] / 1000, a[0] % 1000 * 1000000};
		*e = (struct io_uring_sqe){.opcode = IORING_OP_TIMEOUT, .addr = (unsigned long)wait, .len = 1, .timeout_flags = TIMEOUT_NO_ERROR};
	} else if (!strcmp(op, "connect")) {
		*e = (struct io_uring_sqe){.opcode = IORING_OP_CONNECT, .fd = a[0], .addr = a[1], .off = a[2]};
	} else if (!strcmp(op, "bind")) {
		*e = (struct io_uring_sqe){.opcode = OP_BIND, .fd = a[0], .addr = a[1], .off = a[2]};
	} else if (!strcmp(op, "listen")) {
		*e = (struct io_uring_sqe){.opcode = OP_LISTEN, .fd = a[0], .len = a[1]};
	} else if (!strcmp(op, "accept4")) {
		e->opcode = IORING_OP_ACCEPT;
	} else if (!strcmp(op, "socket")) {
		*e = (struct io_uring_sqe){.opcode = OP_SOCKET, .fd = a[0], .off = a[1], .len = a[2]};
	} else if (!strcmp(op, "send")) { /* fd, text */
		*e = (struct io_uring_sqe){.opcode = IORING_OP_SEND, .fd = a[0], .addr = a[1], .len = strlen((char *)a[1])};
	} else if (!strcmp(op, "sendto") || !strcmp(op, "send_zc")) { /* fd, text, address */
		unsigned char code = op[4] == '_' ? OP_SEND_ZC : IORING_OP_SEND;
		*e = (struct io_uring_sqe){.opcode = code, .fd = a[0], .addr = a[1], .len = strlen((char *)a[1]), .off = a[2]};
		e->file_index = a[3] & 0xffff; /* addr_len */
	} else if (!strcmp(op, "sendmsg")) { /* fd, text, address */
		struct msghdr *m = low(sizeof(*m));
		m->msg_iov = low(sizeof(struct iovec));
		*m->msg_iov = (struct iovec){(void *)a[1], strlen((char *)a[1])};
		m->msg_iovlen = 1;
		m->msg_name = (void *)a[2];
		m->msg_namelen = a[3];
		*e = (struct io_uring_sqe){.opcode = IORING_OP_SENDMSG, .fd = a[0], .addr = (unsigned long)m, .len = 1};
	} else if (!strcmp(op, "recv")) {
		*e = (struct io_uring_sqe){.opcode = IORING_OP_RECV, .fd = a[0], .addr = (unsigned long)low(4096), .len = 4096};
	} else if (!strcmp(op, "recvmsg")) {
		struct msghdr *m = low(sizeof(*m));
		m->msg_iov = low(sizeof(struct iovec));
		*m->msg_iov = (struct iovec){low(4096), 4096};
		m->msg_iovlen = 1;
		*e = (struct io_uring_sqe){.opcode = IORING_OP_RECVMSG, .fd = a[0], .addr = (unsigned long)m, .len = 1};
	} else if (!strcmp(op, "ftruncate")) {
		*e = (struct io_uring_sqe){.opcode = OP_FTRUNCATE, .fd = a[0], .off = a[1]};
	} else if (!strcmp(op, "cut")) { /* slot, length */
		*e = (struct io_uring_sqe){.opcode = OP_FTRUNCATE, .fd = a[0], .off = a[1], .flags = IOSQE_FIXED_FILE};
	} else if (!strcmp(op, "install")) { /* slot */
		*e = (struct io_uring_sqe){.opcode = OP_INSTALL, .fd = a[0], .flags = IOSQE_FIXED_FILE};
	} else if (!strcmp(op, "unlinkat")) {
		*e = (struct io_uring_sqe){.opcode = IORING_OP_UNLINKAT, .fd = a[0], .addr = a[1], .unlink_flags = a[2]};
	} else if (!strcmp(op, "renameat2")) {
		*e = (struct io_uring_sqe){.opcode = IORING_OP_RENAMEAT, .fd = a[0], .addr = a[1], .len = a[2], .off = a[3], .rename_flags = a[4]};
	} else if (!strcmp(op, "mkdirat")) {
		*e = (struct io_uring_sqe){.opcode = IORING_OP_MKDIRAT, .fd = a[0], .addr = a[1], .len = a[2]};
	} else if (!strcmp(op, "symlinkat")) {
		*e = (struct io_uring_sqe){.opcode = IORING_OP_SYMLINKAT, .addr = a[0], .fd = a[1], .off = a[2]};
	} else if (!strcmp(op, "linkat")) {
		*e = (struct io_uring_sqe){.opcode = IORING_OP_LINKAT, .fd = a[0], .addr = a[1], .len = a[2], .off = a[3], .hardlink_flags = a[4]};
	} else {
		die("no such request");
	}
	if (ring.skip)
		e->flags |= CQE_SKIP;
	if (ring.fixed && (!strcmp(op, "connect") || !strncmp(op, "send", 4)))
		e->flags |= IOSQE_FIXED_FILE;
	if (ring.direct && (!strncmp(op, "openat", 6) || !strcmp(op, "socket")))
		e->file_index = 1; /* slot 0 */
}

/* next is where the next request goes, which push puts into the ring. */
static struct io_uring_sqe *next(void)
{
	if (ring.fd < 0)
		die("there is no ring");
	return &ring.sqes[atomic_load(AT(ring.p.sq_off.tail)) & (ring.p.sq_entries - 1)];
}

static void push(void)
{
	unsigned tail = atomic_load(AT(ring.p.sq_off.tail)), i = tail & (ring.p.sq_entries - 1);
	*AT(ring.p.sq_off.array + i * 4) = i;
	atomic_store(AT(ring.p.sq_off.tail), tail + 1);
}

/* queue puts a request into the ring; last is false if the next one is to wait for it. */
static void queue(struct step *s, bool last)
{
	struct io_uring_sqe *e = next();
	fill(e, s->word[1], s->n - 2, s->word + 2);
	if (!last)
		e->flags |= IOSQE_IO_LINK;
	ring.queued++;
	push();
}

/* crowd: leaves no room for completions. */
static long crowd(struct step *s)
{
	(void)s;
	next(); /* or there is no ring */
	for (unsigned i = 0; i < ring.p.cq_entries; i++) {
		*next() = (struct io_uring_sqe){.opcode = IORING_OP_NOP};
		push();
		if (syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0) < 0)
			return -errno;
	}
	return 0;
}

/* queue OP …: waits for uring, and that for it. */
static long link_verb(struct step *s)
{
	queue(s, false);
	return 0;
}

/* beside OP …: waits for uring, which does not wait for it. */
static long beside(struct step *s)
{
	queue(s, true);
	return 0;
}

/* uring OP …: the request, and those queued before it, are submitted and waited for. The result is that of the last. */
static long uring(struct step *s)
{
	queue(s, true);
	unsigned n = ring.queued, done = ring.skip ? 0 : n, tail;
	ring.queued = 0;
	long r = syscall(SYS_io_uring_enter, ring.fd, n, ring.sqpoll ? 0 : done, IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP, NULL, 0);
	if (r < 0)
		return -errno;
	unsigned head = atomic_load(AT(ring.p.cq_off.head));
	while ((tail = atomic_load(AT(ring.p.cq_off.tail))) - head < done)
		usleep(100);
	if (ring.skip)
		usleep(300000); /* nobody tells when it is done, nor the sensor */
	r = 0;
	for (; head != tail; head++)
		r = ((struct io_uring_cqe *)(ring.ring + ring.p.cq_off.cqes))[head & (ring.p.cq_entries - 1)].res;
	atomic_store(AT(ring.p.cq_off.head), head);
	return r;
}

const struct verb uring_verbs[] = {{"ring", 0, make_ring}, {"queue", 1, link_verb}, {"beside", 1, beside}, {"uring", 1, uring}, {"crowd", 0, crowd}, {0}};
