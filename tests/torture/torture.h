/*
 * torture: scenes in which one call after the other fails.
 *
 * A scene makes what it needs, arms the faults (inject_arm()), does its work, which may fail,
 * disarms them, and checks by must() what holds whatever failed: what was said to be done is done,
 * each request was answered, and the same work succeeds now. It ends everything that it began: the
 * program looks for memory, descriptors and threads that are left.
 */
#ifndef UPLOADFS_TESTS_TORTURE_TORTURE_H
#define UPLOADFS_TESTS_TORTURE_TORTURE_H

#include <stdbool.h>

#include "tests/torture/inject.h"

struct scene {
	const char *name;
	void (*run)(void);
	unsigned kinds; /* bits of enum inject_kind; 0: all but threads */
};
/* Ended by one without a name. */
extern const struct scene torture_scenes[];

/* Prints the condition, the scene and its point, and ends the program. */
#define must(cond) ((cond) ? (void)0 : torture_fail(__FILE__, __LINE__, #cond))
_Noreturn void torture_fail(const char *file, int line, const char *what);

/* A new directory, and its removal with all that is in it. */
void torture_dir(char *ret, unsigned size);
void torture_remove(const char *dir);
/* Polls until cond(arg); fails after a while. */
void torture_wait(bool (*cond)(void *arg), void *arg);

#endif
