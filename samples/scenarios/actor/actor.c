// SPDX-License-Identifier: Apache-2.0
/*
 * actor makes the system calls of a scenario, and nothing else. The script is in the environment variable SCENARIO, because the command
 * line is what many rules look at: steps, separated by semicolons or lines. A step is a system call by its name with arguments as in
 * strace(1), or one of the verbs of process.c, file.c, uring.c and detour.c:
 *
 *	SCENARIO='as cat; openat AT_FDCWD /etc/shadow O_RDONLY' actor
 *
 * A step that fails ends the program with status 1, unless a "?" stands before it. "x=socket …" keeps the result as %x; % alone is the
 * result of the step before. Build: cc -static -O1 -o actor *.c
 */
#define _GNU_SOURCE
#include "actor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static long last, kept[26];
static const char *now; /* the step that runs, for messages */

void die(const char *what)
{
	dprintf(2, "actor: %s: %s\n", now ? now : "start", what);
	_exit(1);
}

void *low(size_t size)
{
	static char *at, *end;
	size = (size + 63) & ~63ul;
	if ((size_t)(end - at) < size) {
		size_t n = size > 1 << 20 ? size : 1 << 20;
		int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#ifdef MAP_32BIT
		flags |= MAP_32BIT;
#endif
		at = mmap(NULL, n, PROT_READ | PROT_WRITE, flags, -1, 0);
		if (at == MAP_FAILED)
			die("no memory");
		end = at + n;
	}
	at += size;
	return at - size;
}

/* escapes replaces \xNN in place, for bytes that no editor likes, and \0. */
static void escapes(char *s)
{
	char *to = s;
	for (; *s; s++) {
		unsigned byte;
		if (s[0] == '\\' && s[1] == 'x' && sscanf(s + 2, "%2x", &byte) == 1) {
			*to++ = byte;
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = 0;
}

/* next splits the next step off script. */
static bool next(const char *script, struct step *s)
{
	s->n = 0;
	while (*script && strchr(" \n\t;", *script))
		script++;
	if (!*script)
		return false;
	char *line = low(strlen(script) + 1), *to = line;
	while (*script && *script != ';' && *script != '\n') {
		while (*script == ' ' || *script == '\t')
			script++;
		if (!*script || *script == ';' || *script == '\n')
			break;
		if (s->n == MAX_WORDS - 1)
			die("too many words");
		s->word[s->n++] = to;
		char quote = 0;
		for (; *script && (quote || !strchr(" \t;\n", *script)); script++) {
			if (quote ? *script == quote : *script == '\'' || *script == '"')
				quote = quote ? 0 : *script;
			else
				*to++ = *script;
		}
		*to++ = 0;
		escapes(s->word[s->n - 1]);
	}
	s->word[s->n] = NULL;
	s->rest = script;
	return true;
}

static const struct verb *find(const char *name)
{
	const struct verb *all[] = {process_verbs, file_verbs, uring_verbs, detour_verbs};
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		for (const struct verb *v = all[i]; v->name; v++)
			if (!strcmp(v->name, name))
				return v;
	return NULL;
}

/* value replaces % and %x by results. */
static void values(struct step *s)
{
	for (int i = 1; i < s->n; i++) {
		char *w = s->word[i];
		if (w[0] != '%' || (w[1] && (w[2] || w[1] < 'a' || w[1] > 'z')))
			continue;
		s->word[i] = low(24);
		sprintf(s->word[i], "%ld", w[1] ? kept[w[1] - 'a'] : last);
	}
}

void run_script(const char *script)
{
	struct step s;
	while (next(script, &s)) {
		char *name = s.word[0];
		bool may_fail = *name == '?', keep = false;
		name += may_fail;
		int slot = 0;
		if (name[0] >= 'a' && name[0] <= 'z' && name[1] == '=') {
			keep = true;
			slot = name[0] - 'a';
			name += 2;
		}
		now = s.word[0] = name;
		values(&s);
		const struct verb *v = find(name);
		if (v && s.n - 1 < v->min)
			die("more words are needed");
		bool int80 = !strcmp(name, "int80");
		long r = v ? v->run(&s) : run_call(s.n - int80, s.word + int80, int80);
		if (r < 0 && !may_fail)
			die(strerror(-r));
		if (r >= 0)
			last = r;
		if (keep)
			kept[slot] = r;
		script = s.rest;
	}
}

int main(void)
{
	const char *script = getenv("SCENARIO");
	if (script)
		run_script(script);
	else if (!getenv("SCENARIO_PART")) {
		dprintf(2, "actor: the environment variable SCENARIO is the script; see samples/scenarios/README.md\n");
		return 2;
	}
	if (script && !getenv("SCENARIO_PART")) { /* tells who waits for the scenario that all its events are over */
		now = "end";
		if (syscall(SYS_memfd_create, "scenario-over", 0) < 0)
			die(strerror(errno));
	}
	return 0;
}
