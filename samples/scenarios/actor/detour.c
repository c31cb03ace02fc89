// SPDX-License-Identifier: Apache-2.0
/* Verbs of those who do not want to be seen. */
#define _GNU_SOURCE
#include "actor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *shared;
static const char *two[2];
static atomic_bool stop;

/* swap writes the two paths over each other until it is stopped. They are of the same length, so any mixture is a path too. */
static void *swap(void *unused)
{
	(void)unused;
	size_t n = strlen(two[0]) + 1;
	for (int i = 0; !atomic_load(&stop); i++)
		memcpy(shared, two[i & 1], n);
	return NULL;
}

static pthread_t start_swapping(struct step *s, int at)
{
	pthread_t t;
	two[0] = s->word[at];
	two[1] = s->word[at + 1];
	if (strlen(two[0]) != strlen(two[1]))
		die("paths of the same length are wanted");
	shared = low(PATH_MAX);
	strcpy(shared, two[0]);
	if (pthread_create(&t, NULL, swap, NULL))
		die("no thread");
	return t;
}

#define HITS 20
#define PATIENCE 60 /* seconds */

/* go_on says whether a race goes on after i of the times that are wanted: until there were some hits, for on a busy machine the two threads may
   not run at once for long. */
static bool go_on(long i, long times, long hits)
{
	static struct timespec start;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (i == 0)
		start = now;
	if (i < times)
		return true;
	sched_yield();
	return hits < HITS && now.tv_sec - start.tv_sec < PATIENCE;
}

/* swap-open TIMES SECRET OTHER: opens a path that another thread changes from one to the other. It says how often SECRET was open. */
static long swap_open(struct step *s)
{
	struct stat want, got;
	long hits = 0;
	if (stat(s->word[2], &want) < 0)
		return -errno;
	pthread_t t = start_swapping(s, 2);
	for (long i = 0; go_on(i, number(s->word[1]), hits); i++) {
		int fd = syscall(SYS_openat, AT_FDCWD, shared, O_RDONLY);
		if (fd < 0)
			continue;
		hits += !fstat(fd, &got) && got.st_ino == want.st_ino && got.st_dev == want.st_dev;
		close(fd);
	}
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	printf("hits=%ld\n", hits);
	fflush(stdout);
	return 0;
}

/* swap-unlink TIMES VICTIM OTHER: VICTIM is made and unlinked, by a path that another thread changes. It says how often it was gone. */
static long swap_unlink(struct step *s)
{
	long hits = 0;
	pthread_t t = start_swapping(s, 2);
	for (long i = 0; go_on(i, number(s->word[1]), hits); i++) {
		int fd = syscall(SYS_openat, AT_FDCWD, s->word[2], O_WRONLY | O_CREAT, 0600);
		if (fd < 0)
			die("make the victim");
		close(fd);
		if (syscall(SYS_unlinkat, AT_FDCWD, shared, 0) == 0 && access(s->word[2], F_OK) < 0)
			hits++;
	}
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	printf("hits=%ld\n", hits);
	fflush(stdout);
	return 0;
}

/* vfork-open PATH OTHER: a vforked child opens a path in memory it shares, and the parent writes over it as soon as it may. */
static long vfork_open(struct step *s)
{
	shared = low(PATH_MAX);
	strcpy(shared, s->word[1]);
	pid_t pid = vfork();
	if (pid == 0) {
		long fd = syscall(SYS_openat, AT_FDCWD, shared, O_RDONLY);
		_exit(fd < 0);
	}
	strcpy(shared, s->word[2]);
	int status;
	while (waitpid(pid, &status, 0) < 0)
		;
	return status ? -ECHILD : 0;
}

/* vfork-exec PATH OTHER: a vforked child starts the program at PATH from memory it shares, and writes OTHER over it in another thread. */
static long vfork_exec(struct step *s)
{
	char *none[] = {s->word[1], NULL};
	shared = low(PATH_MAX);
	strcpy(shared, s->word[1]);
	char id[256] = "SCENARIO_ID=", *env[] = {"SCENARIO_PART=1", id, NULL};
	strncat(id, getenv("SCENARIO_ID") ? getenv("SCENARIO_ID") : "", sizeof(id) - 16);
	pid_t pid = vfork();
	if (pid == 0) {
		execve(shared, none, env);
		_exit(127);
	}
	strcpy(shared, s->word[2]);
	int status;
	while (waitpid(pid, &status, 0) < 0)
		;
	return status ? -ECHILD : 0;
}

/* bomb N PATH: N short processes, each a child of one that is gone at once; every one opens PATH. */
static long bomb(struct step *s)
{
	for (long i = number(s->word[1]); i > 0; i--) {
		pid_t pid = fork();
		if (pid < 0)
			return -errno;
		if (pid == 0) {
			int fd = syscall(SYS_openat, AT_FDCWD, s->word[2], O_RDONLY);
			_exit(fd < 0);
		}
		int status;
		while (waitpid(pid, &status, 0) < 0)
			;
		if (status)
			return -ECHILD;
	}
	return 0;
}

/* exec-bomb N NAME: N short processes that each start a program of that name. */
static long exec_bomb(struct step *s)
{
	for (long i = number(s->word[1]); i > 0; i--) {
		pid_t pid = vfork();
		if (pid == 0) {
			setenv("SCENARIO_PART", "1", 1);
			execute(s->word + 2, NULL);
			_exit(127);
		}
		int status;
		while (waitpid(pid, &status, 0) < 0)
			;
		if (status)
			return -ECHILD;
	}
	return 0;
}

/* long-args BYTES NAME [ARG…]: a child of that name gets so many bytes of arguments before the ARGs. */
static long long_args(struct step *s)
{
	enum { PIECE = 65536 };
	long n = number(s->word[1]) / PIECE;
	char **argv = calloc(n + MAX_WORDS, sizeof(*argv)), *piece = malloc(PIECE);
	int k = 0;
	memset(piece, 'a', PIECE - 1);
	piece[PIECE - 1] = 0;
	argv[k++] = s->word[2];
	for (long i = 0; i < n; i++)
		argv[k++] = piece;
	for (int i = 3; i < s->n; i++)
		argv[k++] = s->word[i];
	pid_t pid = fork();
	if (pid == 0) {
		setenv("SCENARIO_PART", "1", 1);
		long r = execute(argv, "pause 10000"); /* the sensor reads the rest while the program lives, and other scenarios may have it busy */
		dprintf(2, "actor: execve: %s\n", strerror(-r));
		_exit(127);
	}
	int status;
	while (waitpid(pid, &status, 0) < 0)
		;
	return status ? -ECHILD : 0;
}

/* puppet OTHER PATH: a child opens OTHER, but its parent, which it has trace it, writes PATH over that as the call begins. */
static long puppet(struct step *s)
{
	size_t n = strlen(s->word[1]) + 1;
	if (strlen(s->word[2]) >= n)
		die("the other path is too short");
	char *at = low(n), text[32];
	int status;
	strcpy(at, s->word[1]);
	pid_t pid = fork();
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
			_exit(1);
		raise(SIGSTOP);
		_exit(syscall(SYS_openat, AT_FDCWD, at, O_RDONLY) < 0);
	}
	snprintf(text, sizeof(text), "/proc/%d/mem", pid);
	waitpid(pid, &status, 0);
	if (ptrace(PTRACE_SYSCALL, pid, 0, 0) < 0 || waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status))
		die("trace");
	int mem = open(text, O_RDWR);
	if (mem < 0 || pwrite(mem, s->word[2], strlen(s->word[2]) + 1, (long)at) < 0)
		die(text);
	ptrace(PTRACE_CONT, pid, 0, 0);
	waitpid(pid, &status, 0);
	return status ? -ECHILD : 0;
}

/* load-bpf: a BPF program that returns 0 is loaded. */
static long load_bpf(struct step *s)
{
	static const struct bpf_insn program[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K}, {.code = BPF_JMP | BPF_EXIT}};
	union bpf_attr a = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insn_cnt = 2, .insns = (unsigned long)program, .license = (unsigned long)"GPL",
	};
	(void)s;
	long fd = syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof(a));
	return fd < 0 ? -errno : fd;
}

const struct verb detour_verbs[] = {
	{"swap-open", 3, swap_open}, {"swap-unlink", 3, swap_unlink}, {"vfork-open", 2, vfork_open}, {"vfork-exec", 2, vfork_exec},
	{"bomb", 2, bomb}, {"exec-bomb", 2, exec_bomb}, {"long-args", 2, long_args}, {"load-bpf", 0, load_bpf},
	{"puppet", 2, puppet}, {0},
};
