// What tests and benchmarks put under a sensor:
//
//	load open N US PATH     open and close PATH
//	load ring N US PATH     open PATH through an io_uring, into a descriptor of the ring's own, 32 times a submission
//	load mark N US PREFIX   open and close PREFIX0, PREFIX1, …
//	load spawn N US PROGRAM start PROGRAM and wait for its end
//	load fork N US -        fork, twenty at a time, and wait for their ends
//
// N times, or until it is killed if N is 0; one every US microseconds, or as fast as it goes if US is 0. The exit code is 1 if a call failed,
// but for loads without an end, whose calls may fail.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct timespec at;

static void pace(long us)
{
	if (us == 0)
		return;
	at.tv_nsec += us % 1000000 * 1000;
	at.tv_sec += us / 1000000 + at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, 0);
}

static int open_once(const char *path)
{
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return 1;
	close(fd);
	return 0;
}

static int mark_once(const char *prefix, long i)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s%ld", prefix, i);
	return open_once(path);
}

enum { BATCH = 32 };

static struct {
	int fd;
	char *rings;
	struct io_uring_params p;
} ring;

static unsigned *in_ring(unsigned offset)
{
	return (unsigned *)(ring.rings + offset);
}

/* make_ring makes a ring with one descriptor of its own. All that a submission will ask for stands in it already, for the path is the same. */
static int make_ring(const char *path)
{
	int none = -1;
	ring.fd = syscall(SYS_io_uring_setup, BATCH, &ring.p);
	if (ring.fd < 0 || syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, &none, 1) < 0)
		return -1;
	size_t size = ring.p.cq_off.cqes + ring.p.cq_entries * sizeof(struct io_uring_cqe), sq = ring.p.sq_off.array + BATCH * 4;
	ring.rings = mmap(0, size > sq ? size : sq, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);
	struct io_uring_sqe *sqes = mmap(0, BATCH * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQES);
	if (ring.rings == MAP_FAILED || sqes == MAP_FAILED)
		return -1;
	for (unsigned i = 0; i < BATCH; i++) {
		sqes[i] = (struct io_uring_sqe){.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (unsigned long)path, .file_index = 1};
		in_ring(ring.p.sq_off.array)[i] = i;
	}
	return 0;
}

static long open_by_ring(long n)
{
	unsigned *tail = in_ring(ring.p.sq_off.tail), *head = in_ring(ring.p.cq_off.head);
	__atomic_store_n(tail, *tail + n, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring.fd, n, n, IORING_ENTER_GETEVENTS, 0, 0) != n)
		return n;
	struct io_uring_cqe *cqes = (void *)in_ring(ring.p.cq_off.cqes);
	long failed = 0;
	for (long i = 0; i < n; i++, (*head)++)
		failed += cqes[*head & (ring.p.cq_entries - 1)].res < 0;
	return failed;
}

static int spawn_once(char *program)
{
	pid_t pid;
	char *args[] = {program, 0}, *none[] = {0};
	if (posix_spawn(&pid, program, 0, 0, args, none))
		return 1;
	return waitpid(pid, 0, 0) < 0;
}

static int fork_some(long n)
{
	int failed = 0;
	for (; n > 0; n--) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		failed += pid < 0;
	}
	while (wait(0) > 0)
		;
	return failed;
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "load open|ring|mark|spawn|fork N US WHAT\n");
		return 2;
	}
	long n = atol(argv[2]), us = atol(argv[3]), failed = 0;
	char how = argv[1][0], *what = argv[4];
	if (how == 'r' && make_ring(what)) {
		perror("load ring");
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &at);
	for (long i = 0; n == 0 || i < n;) {
		if (how == 'f' || how == 'r') {
			long most = how == 'f' ? 20 : BATCH, some = n == 0 || n - i > most ? most : n - i;
			failed += how == 'f' ? fork_some(some) : open_by_ring(some);
			i += some;
		} else {
			failed += how == 'o' ? open_once(what) : how == 'm' ? mark_once(what, i) : spawn_once(what);
			i++;
		}
		pace(us);
	}
	if (failed)
		fprintf(stderr, "load %s: %ld calls failed\n", argv[1], failed);
	return failed > 0;
}
