// SPDX-License-Identifier: Apache-2.0
/* Verbs about files and sockets that are more than one call, or whose arguments are structures. */
#define _GNU_SOURCE
#include "actor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* file PATH TEXT: the file is made, and holds the text. */
static long file(struct step *s)
{
	int fd = open(s->word[1], O_WRONLY | O_CREAT | O_TRUNC, 0755);
	if (fd < 0)
		return -errno;
	long n = write(fd, s->word[2], strlen(s->word[2]));
	close(fd);
	return n < 0 ? -errno : 0;
}

/* copy PATH: this program is copied there. */
static long copy(struct step *s)
{
	char buf[65536];
	int from = open("/proc/self/exe", O_RDONLY), to = open(s->word[1], O_WRONLY | O_CREAT | O_TRUNC, 0755);
	if (from < 0 || to < 0)
		return -errno;
	for (ssize_t n; (n = read(from, buf, sizeof(buf))) > 0;)
		if (write(to, buf, n) != n)
			return -EIO;
	close(from);
	return close(to) ? -errno : 0;
}

static struct msghdr *message(struct step *s, int at)
{
	struct msghdr *m = low(sizeof(*m));
	m->msg_iov = low(sizeof(struct iovec));
	m->msg_iov->iov_base = s->word[at];
	m->msg_iov->iov_len = strlen(s->word[at]);
	m->msg_iovlen = 1;
	if (s->word[at + 1]) {
		unsigned size = 0;
		m->msg_name = address(s->word[at + 1], &size);
		m->msg_namelen = size;
	}
	return m;
}

/* sendmsg FD TEXT [ADDRESS], sendmmsg FD TEXT [ADDRESS] */
static long sendmsg_verb(struct step *s)
{
	struct msghdr *m = message(s, 2);
	long r;
	if (!strcmp(s->word[0], "sendmmsg")) {
		struct mmsghdr *mm = low(2 * sizeof(*mm));
		mm[0].msg_hdr = mm[1].msg_hdr = *m;
		r = syscall(SYS_sendmmsg, number(s->word[1]), mm, 2, 0);
	} else {
		r = syscall(SYS_sendmsg, number(s->word[1]), m, 0);
	}
	return r < 0 ? -errno : r;
}

/* recvmsg FD, recvmmsg FD */
static long recvmsg_verb(struct step *s)
{
	struct msghdr m = {.msg_iov = &(struct iovec){low(4096), 4096}, .msg_iovlen = 1, .msg_name = low(128), .msg_namelen = 128};
	long r;
	if (!strcmp(s->word[0], "recvmmsg")) {
		struct mmsghdr mm = {.msg_hdr = m};
		r = syscall(SYS_recvmmsg, number(s->word[1]), &mm, 1, 0, NULL);
	} else {
		r = syscall(SYS_recvmsg, number(s->word[1]), &m, 0);
	}
	return r < 0 ? -errno : r;
}

/* recv FD: recvfrom with the sender's address. */
static long recv_verb(struct step *s)
{
	socklen_t *size = low(sizeof(*size));
	*size = 128;
	long r = syscall(SYS_recvfrom, number(s->word[1]), low(4096), 4096, 0, low(128), size);
	return r < 0 ? -errno : r;
}

/* visitor TO FROM: a TCP connection from one address to another. The result is its descriptor. */
static long visitor(struct step *s)
{
	unsigned to_size, from_size;
	void *to = address(s->word[1], &to_size);
	void *from = address(s->word[2], &from_size);
	if (!to || !from)
		die("addresses are wanted");
	int fd = socket(to_size == 16 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, from, from_size) < 0)
		return -errno;
	if (connect(fd, to, to_size) < 0 && errno != EINPROGRESS)
		return -errno;
	return fd;
}

struct handle {
	struct file_handle h;
	unsigned char bytes[128];
};

/* handle DIR PATH FLAGS: PATH is opened by its handle; DIR is a descriptor or path on the same file system. */
static long handle(struct step *s)
{
	struct handle h = {.h.handle_bytes = sizeof(h.bytes)};
	int id, mount = open(s->word[1], O_RDONLY | O_DIRECTORY);
	if (mount < 0 || name_to_handle_at(AT_FDCWD, s->word[2], &h.h, &id, 0) < 0)
		return -errno;
	int fd = open_by_handle_at(mount, &h.h, number(s->word[3]));
	return fd < 0 ? -errno : fd;
}

/* give PATH: PATH is opened, the descriptor goes through a socket to a child, which reads and makes the rest of the steps. */
static long give(struct step *s)
{
	int pair[2], fd = open(s->word[1], O_RDONLY);
	char room[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
	struct msghdr m = {.msg_iov = &(struct iovec){&byte, 1}, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
	if (fd < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid == 0) {
		close(fd);
		if (recvmsg(pair[1], &m, 0) < 0)
			die("recvmsg");
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
		_exit(read(fd, &byte, 1) == 1 ? 0 : 1);
	}
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	int status;
	if (sendmsg(pair[0], &m, 0) < 0)
		return -errno;
	while (wait4(pid, &status, 0, NULL) < 0)
		;
	return status ? -ECHILD : 0;
}

/* deep N: N directories are made, one in the other, and the innermost becomes the working directory. */
static long deep(struct step *s)
{
	char name[NAME_MAX + 1];
	long len = s->n > 2 ? number(s->word[2]) : 1;
	memset(name, 'd', len);
	name[len] = 0;
	for (long i = number(s->word[1]); i > 0; i--)
		if ((mkdir(name, 0755) < 0 && errno != EEXIST) || chdir(name) < 0)
			return -errno;
	return 0;
}

const struct verb file_verbs[] = {
	{"file", 2, file}, {"copy", 1, copy}, {"sendmsg", 2, sendmsg_verb}, {"sendmmsg", 2, sendmsg_verb}, {"recvmsg", 1, recvmsg_verb},
	{"recvmmsg", 1, recvmsg_verb}, {"recv", 1, recv_verb}, {"visitor", 2, visitor}, {"handle", 3, handle}, {"give", 1, give},
	{"deep", 1, deep}, {0},
};
