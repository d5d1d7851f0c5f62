/*
 * The bounds of a run, and which former rule it has, come by the environment: compiling the
 * verifier takes longer than running it. Included into the verifier that spin writes.
 */
#ifndef UPLOADFS_TESTS_MODEL_BOUNDS_H
#define UPLOADFS_TESTS_MODEL_BOUNDS_H

#include <stdio.h>
#include <stdlib.h>

/* The number of that name; a run without one is none. */
static int bound(const char *name)
{
	const char *value = getenv(name);

	if (value)
		return (int)strtol(value, NULL, 10);
	printf("the bound %s is not given\n", name);
	exit(2);
}

#endif
