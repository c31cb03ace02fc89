// SPDX-License-Identifier: Apache-2.0
/* Verbs about processes: names, parents, users, terminals. */
#define _GNU_SOURCE
#include "actor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* named returns a path to this program that ends in name: a symbolic link in the folder names beside it. */
static char *named(const char *name)
{
	char exe[PATH_MAX], *path = malloc(PATH_MAX + 64);
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (n < 0)
		die("readlink /proc/self/exe");
	exe[n] = 0;
	char *dir = strdup(exe);
	snprintf(path, PATH_MAX + 64, "%s/names", dirname(dir));
	if (mkdirat(AT_FDCWD, path, 0777) < 0 && errno != EEXIST)
		die("mkdir names");
	strcat(path, "/");
	strcat(path, name);
	if (access(path, X_OK) == 0)
		return path; /* made before */
	if (symlink(exe, path) < 0 && errno != EEXIST)
		die("symlink in names");
	return path;
}

long execute(char **argv, const char *rest)
{
	char *path = strchr(argv[0], '/') ? argv[0] : named(argv[0]);
	if (rest)
		setenv("SCENARIO", rest, 1);
	else
		unsetenv("SCENARIO");
	execv(path, argv);
	return -errno;
}

static int wait_for(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* child forks; who is not the first process does not end the scenario. */
static pid_t child(void)
{
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		setenv("SCENARIO_PART", "1", 1);
	return pid;
}

/* as NAME [ARG…]: a child of that name makes the rest of the steps. */
static long as(struct step *s)
{
	pid_t pid = child();
	if (pid == 0) {
		execute(s->word + 1, s->rest);
		die(strerror(errno));
	}
	int status = wait_for(pid);
	if (status)
		_exit(status);
	s->rest = "";
	return 0;
}

/* run NAME [ARG…]: a child of that name does nothing; its exit status counts. */
static long run(struct step *s)
{
	pid_t pid = child();
	if (pid == 0) {
		execute(s->word + 1, NULL);
		_exit(127);
	}
	return wait_for(pid) ? -ECHILD : 0;
}

/* exec NAME [ARG…]: this process becomes that, and makes the rest of the steps. */
static long exec_verb(struct step *s) { return execute(s->word + 1, s->rest); }

/* fork: a child makes the rest of the steps. */
static long fork_verb(struct step *s)
{
	pid_t pid = child();
	if (pid == 0)
		return 0;
	int status = wait_for(pid);
	if (status)
		_exit(status);
	s->rest = "";
	return 0;
}

/* execat PATH [ARG…]: as exec, by execveat with an open descriptor. */
static long execat(struct step *s)
{
	extern char **environ;
	int fd = open(s->word[1], O_PATH); /* stays open: a script's interpreter reads it */
	if (fd < 0)
		return -errno;
	setenv("SCENARIO", s->rest, 1);
	syscall(SYS_execveat, fd, "", s->word + 1, environ, AT_EMPTY_PATH);
	return -errno;
}

/* memexec NAME [ARG…]: as exec, from a copy in anonymous memory. */
static long memexec(struct step *s)
{
	extern char **environ;
	int fd = syscall(SYS_memfd_create, "program", 0u), from = open("/proc/self/exe", O_RDONLY);
	char buf[65536];
	if (fd < 0 || from < 0)
		return -errno;
	for (ssize_t n; (n = read(from, buf, sizeof(buf))) > 0;)
		if (write(fd, buf, n) != n)
			return -EIO;
	setenv("SCENARIO", s->rest, 1);
	syscall(SYS_execveat, fd, "", s->word + 1, environ, AT_EMPTY_PATH);
	return -errno;
}

/* orphan: a child of a child that has ended makes the rest of the steps. */
static long orphan(struct step *s)
{
	int over[2];
	char unused;
	if (pipe(over) < 0)
		return -errno;
	pid_t pid = child();
	if (pid == 0) {
		pid_t between = getpid(), last = fork();
		if (last < 0)
			die("fork");
		if (last > 0)
			_exit(0);
		while (getppid() == between)
			usleep(1000);
		return 0; /* who is the last to have the pipe open, even by another name, ends it */
	}
	wait_for(pid);
	close(over[1]);
	if (read(over[0], &unused, 1) != 0)
		die("pipe");
	s->rest = "";
	return 0;
}

/* clone and clone3 [FLAGS] and plain-fork, with a child that ends at once. */
static long clone_verb(struct step *s)
{
	long pid, flags = s->n > 1 ? number(s->word[1]) : 0;
	if (!strcmp(s->word[0], "clone3")) {
		struct { unsigned long long flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; } a = {.exit_signal = SIGCHLD};
		a.flags = flags;
		pid = syscall(SYS_clone3, &a, sizeof(a));
#ifdef SYS_fork
	} else if (!strcmp(s->word[0], "plain-fork")) {
		pid = syscall(SYS_fork);
#endif
	} else {
		pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	}
	if (pid == 0)
		_exit(0);
	return pid < 0 ? -errno : (wait_for(pid), pid);
}

static long vfork_verb(struct step *s)
{
	(void)s;
	pid_t pid = vfork();
	if (pid == 0)
		_exit(0);
	return pid < 0 ? -errno : (wait_for(pid), pid);
}

/* env NAME VALUE */
static long env(struct step *s) { return setenv(s->word[1], s->word[2], 1) ? -errno : 0; }

/* user UID: real, effective and saved, and the group of the same number. */
static long user(struct step *s)
{
	long id = number(s->word[1]);
	if (setgroups(0, NULL) || setresgid(id, id, id) || setresuid(id, id, id))
		return -errno;
	return 0;
}

/* pause MS */
static long pause_verb(struct step *s)
{
	long ms = number(s->word[1]);
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&t, NULL);
	return 0;
}

/* terminal: the rest happens in a session of its own with a terminal. */
static long terminal(struct step *s)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), zero = 0, n;
	char name[32];
	if (master < 0 || ioctl(master, TIOCSPTLCK, &zero) < 0 || ioctl(master, TIOCGPTN, &n) < 0)
		return -errno;
	snprintf(name, sizeof(name), "/dev/pts/%d", n);
	pid_t pid = child();
	if (pid == 0) {
		int fd;
		if (setsid() < 0 || (fd = open(name, O_RDWR)) < 0 || ioctl(fd, TIOCSCTTY, 0) < 0)
			die("terminal");
		return 0;
	}
	int status = wait_for(pid);
	if (status)
		_exit(status);
	s->rest = "";
	return 0;
}

/* group: the process becomes the leader of a process group. */
static long group(struct step *s)
{
	(void)s;
	return setpgid(0, 0) ? -errno : 0;
}

const struct verb process_verbs[] = {
	{"as", 1, as}, {"run", 1, run}, {"exec", 1, exec_verb}, {"fork", 0, fork_verb}, {"execat", 1, execat}, {"memexec", 1, memexec},
	{"clone", 0, clone_verb}, {"clone3", 0, clone_verb}, {"plain-fork", 0, clone_verb}, {"vfork", 0, vfork_verb}, {"env", 2, env}, {"user", 1, user},
	{"pause", 1, pause_verb}, {"terminal", 0, terminal}, {"group", 0, group}, {"orphan", 0, orphan}, {0},
};
