/* sched: for a look at a run that stands still. */
#ifndef UPLOADFS_TESTS_SIMULATE_SCHED_H
#define UPLOADFS_TESTS_SIMULATE_SCHED_H

void sched_dump(void);

#endif
