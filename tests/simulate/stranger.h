/*
 * stranger: another host of the account, which uses the service without uploadfs. It makes Files of
 * the names and sizes that the daemons make, before, between and after their own calls, overwrites
 * and deletes Files, theirs too.
 */
#ifndef UPLOADFS_TESTS_SIMULATE_STRANGER_H
#define UPLOADFS_TESTS_SIMULATE_STRANGER_H

#include <stdbool.h>

#include "tests/simulate/sim.h"

#define STRANGER HOSTS /* its number as a maker and deleter of Files */

void stranger_reset(void);
/* It does one thing, or nothing; called at any step. */
void stranger_step(void);
/* A daemon made an Upload, or its complete went wrong: perhaps it does the same. */
void stranger_races(const char *filename, size_t len);

#endif
