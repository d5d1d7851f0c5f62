/* luck: what main.c needs to catch a failure. */
#ifndef UPLOADFS_TESTS_SIMULATE_LUCK_H
#define UPLOADFS_TESTS_SIMULATE_LUCK_H

#include <setjmp.h>

#include "tests/simulate/sim.h"

extern char luck_failure[400]; /* what wrong() said */
extern uint64_t luck_digest;   /* of all numbers drawn: a run that is replayed has the same */
extern jmp_buf luck_back;      /* where wrong() goes to, from any coroutine */

#endif
