// SPDX-License-Identifier: Apache-2.0
/* System calls by name, with arguments as strace(1) writes them: numbers, constants, strings, addresses. */
#define _GNU_SOURCE
#include "actor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/openat2.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

/* Calls, and their numbers behind int 0x80. */
#define CALLS(X)                                                                                                                    \
	X(openat, 295) X(openat2, 437) X(execve, 11) X(execveat, 358) X(connect, 362) X(accept4, 364) X(bind, 361) X(listen, 363)       \
	X(socket, 359) X(socketpair, 360) X(sendto, 369) X(recvfrom, 371) X(dup, 41) X(dup3, 330) X(unlinkat, 301) X(renameat2, 353)    \
	X(mkdirat, 296) X(linkat, 303) X(symlinkat, 304) X(fchmod, 94) X(fchmodat, 306) X(fchownat, 298) X(fchown, 95) X(mount, 21)     \
	X(umount2, 52) X(setns, 346) X(unshare, 310) X(ptrace, 26) X(setuid, 23) X(setgid, 46) X(setresuid, 164) X(setresgid, 170)      \
	X(setreuid, 70) X(setregid, 71) X(capset, 185) X(bpf, 357) X(userfaultfd, 374) X(init_module, 128) X(finit_module, 350)         \
	X(memfd_create, 356) X(prctl, 172) X(kill, 37) X(tkill, 238) X(tgkill, 270) X(process_vm_readv, 347) X(process_vm_writev, 348)  \
	X(io_uring_setup, 425) X(chdir, 12) X(fchdir, 133) X(chroot, 61) X(setsid, 66) X(setpgid, 57) X(close, 6) X(read, 3)            \
	X(write, 4) X(getpid, 20) X(mknodat, 297) X(truncate, 92) X(ftruncate, 93) X(quotactl, 131) X(pidfd_open, 434) X(pidfd_getfd, 438)               \
	X(open_tree, 428) X(move_mount, 429) X(fsopen, 430) X(fsconfig, 431) X(fsmount, 432) X(pivot_root, 217) X(shutdown, 373)        \
	X(setsockopt, 366) X(open_by_handle_at, 342) X(fcntl, 55) X(fchmodat2, 452) X(sendfile, 187)

/* Calls that newer architectures lack. */
#define OLD_CALLS(X)                                                                                                                \
	X(open, 5) X(creat, 8) X(dup2, 63) X(unlink, 10) X(rename, 38) X(renameat, 302) X(mkdir, 39) X(rmdir, 40) X(link, 9)            \
	X(symlink, 83) X(chmod, 15) X(chown, 182) X(lchown, 16) X(accept, -1) X(fork, 2)

static const struct {
	const char *name;
	long native, ia32;
} calls[] = {
	{"umount", -1, 22},
#define X(name, ia32) {#name, SYS_##name, ia32},
	CALLS(X)
#undef X
#ifdef SYS_open
#define X(name, ia32) {#name, SYS_##name, ia32},
#if defined(__i386__)
#define SYS_accept -1
#endif
	OLD_CALLS(X)
#undef X
#endif
};

#define CONSTANTS(X)                                                                                                                \
	X(AT_FDCWD) X(O_RDONLY) X(O_WRONLY) X(O_RDWR) X(O_CREAT) X(O_EXCL) X(O_TRUNC) X(O_APPEND) X(O_DIRECTORY) X(O_PATH)              \
	X(O_CLOEXEC) X(O_TMPFILE) X(O_NOFOLLOW) X(AT_REMOVEDIR) X(AT_EMPTY_PATH) X(AT_SYMLINK_FOLLOW) X(RENAME_NOREPLACE)               \
	X(RENAME_EXCHANGE) X(AF_INET) X(AF_INET6) X(AF_UNIX) X(AF_PACKET) X(AF_NETLINK) X(SOCK_STREAM) X(SOCK_DGRAM) X(SOCK_RAW)        \
	X(SOCK_NONBLOCK) X(SOCK_CLOEXEC) X(MSG_FASTOPEN) X(MSG_DONTWAIT) X(CLONE_FS) X(CLONE_FILES) X(CLONE_NEWNS) X(CLONE_NEWUSER)     \
	X(CLONE_NEWNET) X(CLONE_NEWUTS) X(CLONE_NEWPID) X(CLONE_NEWIPC) X(PTRACE_TRACEME) X(PTRACE_ATTACH) X(PTRACE_SEIZE)              \
	X(PTRACE_PEEKTEXT) X(PTRACE_POKETEXT) X(PTRACE_POKEDATA) X(PTRACE_DETACH) X(PR_SET_NAME) X(PR_SET_DUMPABLE) X(PR_CAPBSET_READ)  \
	X(PR_SET_NO_NEW_PRIVS) X(SIGCONT) X(SIGKILL) X(SIGTERM) X(SIGUSR1) X(MFD_CLOEXEC) X(MFD_ALLOW_SEALING) X(BPF_PROG_LOAD)         \
	X(BPF_MAP_CREATE) X(BPF_PROG_GET_NEXT_ID) X(UFFD_USER_MODE_ONLY) X(MS_BIND) X(MS_REC) X(MS_RDONLY) X(MS_PRIVATE) X(MNT_DETACH)  \
	X(SOL_SOCKET) X(SO_REUSEADDR) X(IPPROTO_TCP) X(IPPROTO_UDP) X(TCP_FASTOPEN) X(S_IFIFO) X(S_IFREG) X(S_IFCHR)                    \
	X(RESOLVE_NO_SYMLINKS) X(RESOLVE_IN_ROOT) X(RESOLVE_BENEATH) X(AT_SYMLINK_NOFOLLOW)

static const struct {
	const char *name;
	long value;
} constants[] = {
#define X(name) {#name, (long)name},
	CONSTANTS(X)
#undef X
	{"NULL", 0},
};

static bool one_number(const char *w, size_t len, long *value)
{
	char word[64], *end;
	if (len == 0 || len >= sizeof(word))
		return false;
	memcpy(word, w, len);
	word[len] = 0;
	for (size_t i = 0; i < sizeof(constants) / sizeof(*constants); i++)
		if (!strcmp(constants[i].name, word)) {
			*value |= constants[i].value;
			return true;
		}
	errno = 0;
	long n = (long)strtoull(word, &end, 0);
	*value |= n;
	return !*end && !errno && (word[0] == '-' || (word[0] >= '0' && word[0] <= '9'));
}

/* is_number reads a number, or constants joined by "|". */
bool is_number(const char *word, long *value)
{
	*value = 0;
	for (;;) {
		size_t len = strcspn(word, "|");
		if (!one_number(word, len, value))
			return false;
		if (!word[len])
			return true;
		word += len + 1;
	}
}

long number(const char *word)
{
	long value;
	if (!is_number(word, &value))
		die("a number or a constant is wanted");
	return value;
}

/* address reads 1.2.3.4:80, [::1]:80 or unix:PATH; NULL if word is none of them. */
void *address(const char *word, unsigned *size)
{
	char host[64];
	const char *colon = strrchr(word, ':');
	if (!strncmp(word, "unix:", 5)) {
		struct sockaddr_un *a = low(sizeof(*a));
		a->sun_family = AF_UNIX;
		strncpy(a->sun_path, word + 5, sizeof(a->sun_path) - 1);
		if (a->sun_path[0] == '@')
			a->sun_path[0] = 0;
		*size = offsetof(struct sockaddr_un, sun_path) + strlen(word + 5);
		return a;
	}
	if (!colon || !colon[1] || colon[1 + strspn(colon + 1, "0123456789")] || (size_t)(colon - word) >= sizeof(host))
		return NULL;
	memcpy(host, word, colon - word);
	host[colon - word] = 0;
	struct sockaddr_in *a4 = low(sizeof(*a4));
	if (inet_pton(AF_INET, host, &a4->sin_addr) == 1) {
		a4->sin_family = AF_INET;
		a4->sin_port = htons(atoi(colon + 1));
		*size = sizeof(*a4);
		return a4;
	}
	size_t n = strlen(host);
	struct sockaddr_in6 *a6 = low(sizeof(*a6));
	if (host[0] != '[' || host[n - 1] != ']')
		return NULL;
	host[n - 1] = 0;
	if (inet_pton(AF_INET6, host + 1, &a6->sin6_addr) != 1)
		return NULL;
	a6->sin6_family = AF_INET6;
	a6->sin6_port = htons(atoi(colon + 1));
	*size = sizeof(*a6);
	return a6;
}

int arguments(int n, char **word, long *arg)
{
	int k = 0;
	for (int i = 0; i < n; i++) {
		unsigned size;
		void *p;
		if (k == MAX_ARGS)
			die("too many arguments");
		if (is_number(word[i], &arg[k])) {
			k++;
		} else if (word[i][0] == '&') { /* so many bytes of memory */
			arg[k++] = (long)low(atoi(word[i] + 1));
		} else if (!strncmp(word[i], "how:", 4)) { /* struct open_how: flags,mode,resolve */
			struct open_how *how = low(sizeof(*how));
			char *flags = strdup(word[i] + 4), *mode = strchr(flags, ','), *resolve = mode ? strchr(mode + 1, ',') : NULL;
			if (!resolve)
				die("how:FLAGS,MODE,RESOLVE is wanted");
			*mode++ = 0;
			*resolve++ = 0;
			how->flags = number(flags);
			how->mode = number(mode);
			how->resolve = number(resolve);
			arg[k++] = (long)how;
			if (k < MAX_ARGS)
				arg[k++] = sizeof(*how);
		} else if ((p = address(word[i], &size))) {
			arg[k++] = (long)p;
			if (k == MAX_ARGS)
				die("too many arguments");
			arg[k++] = size;
		} else {
			char *copy = low(strlen(word[i]) + 1);
			strcpy(copy, word[i]);
			arg[k++] = (long)copy;
		}
	}
	for (int i = k; i < MAX_ARGS; i++)
		arg[i] = 0;
	return k;
}

static long int80_call(long nr, long *a)
{
#ifdef __x86_64__
	int r;
	__asm__ volatile("push %%rbp\n\tmov %[sixth], %%ebp\n\tint $0x80\n\tpop %%rbp"
			 : "=a"(r)
			 : "a"((int)nr), "b"((int)a[0]), "c"((int)a[1]), "d"((int)a[2]), "S"((int)a[3]), "D"((int)a[4]), [sixth] "r"((int)a[5])
			 : "memory", "r8", "r9", "r10", "r11");
	return r;
#else
	(void)nr;
	(void)a;
	die("int80 is for 64-bit x86");
#endif
}

long run_call(int n, char **word, bool int80)
{
	long arg[MAX_ARGS];
	for (size_t i = 0; n > 0 && i < sizeof(calls) / sizeof(*calls); i++) {
		if (strcmp(calls[i].name, word[0]))
			continue;
		arguments(n - 1, word + 1, arg);
		if (int80)
			return int80_call(calls[i].ia32, arg);
		long r = syscall(calls[i].native, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
		return r < 0 ? -errno : r;
	}
	die("no such step");
}
