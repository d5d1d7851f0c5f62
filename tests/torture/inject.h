/*
 * inject: the n-th allocation, system call or thread of the code under test fails.
 *
 * make builds copies of libfs, libnet and libserver whose calls go to inject.c (calls.syms); the
 * scenes, the fixtures and the service in memory call the C library as ever. SQLite's allocations
 * and calls go there by its own hooks, cJSON's allocations by its.
 */
#ifndef UPLOADFS_TESTS_TORTURE_INJECT_H
#define UPLOADFS_TESTS_TORTURE_INJECT_H

#include <stdbool.h>

enum inject_kind {
	INJECT_ALLOC,  /* allocations: ENOMEM */
	INJECT_EIO,    /* system calls on files: EIO */
	INJECT_ENOSPC, /* those that need room on the disk: ENOSPC */
	INJECT_SHORT,  /* reads and writes: half of it */
	INJECT_EMFILE, /* descriptors made: EMFILE */
	INJECT_THREAD, /* threads made: EAGAIN */
	INJECT_KINDS
};
extern const char *const inject_names[INJECT_KINDS];

/* Install the hooks of the libraries. Once, before anything else. */
void inject_init(void);
/* What fails between inject_arm() and inject_disarm(): call n, and with `all` those after it. */
void inject_set(enum inject_kind kind, unsigned n, bool all);
void inject_arm(void);
void inject_disarm(void);
/* Calls of that kind since inject_set(), while armed; any thread. */
unsigned inject_count(void);
/* Have inject_set()'s call print its stack when it fails. */
void inject_trace(void);

#endif
