// What tests and benchmarks put under a sensor:
//
//	load open N US PATH     open and close PATH
//	load mark N US PREFIX   open and close PREFIX0, PREFIX1, …
//	load spawn N US PROGRAM start PROGRAM and wait for its end
//	load fork N US -        fork, twenty at a time, and wait for their ends
//
// N times, or until it is killed if N is 0; one every US microseconds, or as fast as it goes if US is 0. The exit code is 1 if a call failed,
// but for loads without an end, whose calls may fail.
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
		fprintf(stderr, "load open|mark|spawn|fork N US WHAT\n");
		return 2;
	}
	long n = atol(argv[2]), us = atol(argv[3]), failed = 0;
	char how = argv[1][0], *what = argv[4];
	clock_gettime(CLOCK_MONOTONIC, &at);
	for (long i = 0; n == 0 || i < n;) {
		if (how == 'f') {
			long some = n == 0 || n - i > 20 ? 20 : n - i;
			failed += fork_some(some);
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
