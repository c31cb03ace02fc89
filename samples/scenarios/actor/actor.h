/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ACTOR_H
#define ACTOR_H

#include <stdbool.h>
#include <stddef.h>

#define MAX_WORDS 24
#define MAX_ARGS 6

/* A step of a script: its words, and a place for what the words stand for. */
struct step {
	int n;
	char *word[MAX_WORDS];
	const char *rest; /* of the script, behind this step */
};

/* A verb is a step that is no system call. It returns the step's result: a descriptor or 0, and -errno if it did not work. */
struct verb {
	const char *name;
	int min; /* words behind the name */
	long (*run)(struct step *s);
};

extern const struct verb process_verbs[], file_verbs[], uring_verbs[], detour_verbs[];

/* low is memory below 4 GiB, where the 32-bit calls can reach it; it is never given back. */
void *low(size_t size);
void die(const char *what) __attribute__((noreturn));

/* run_script makes all steps. */
void run_script(const char *script);

/* run_call makes the system call that words name; int80 by the 32-bit entry. */
long run_call(int n, char **word, bool int80);

/* arguments converts words to arguments of a call, in order. It returns how many there are: an address is two. */
int arguments(int n, char **word, long *arg);
long number(const char *word);
bool is_number(const char *word, long *value);
void *address(const char *word, unsigned *size);

/* execute runs this program under another name, argv[0], with the rest of the script. A name with a slash is a path that exists. */
long execute(char **argv, const char *rest);

#endif
