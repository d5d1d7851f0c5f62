/*
 * deadline: an upper bound for the end of the process, whatever hangs. One at a time.
 */
#ifndef UPLOADFS_FS_HOST_DEADLINE_H
#define UPLOADFS_FS_HOST_DEADLINE_H

#include <stdint.h>

/*
 * Call over(arg) on a thread of its own after so many milliseconds, unless deadline_end() comes
 * first. A second start before that changes nothing. 0 or negative errno.
 */
int deadline_start(uint64_t ms, void (*over)(void *arg), void *arg);
/* Waits for over() if it runs. Without a start a no-op. */
void deadline_end(void);

#endif
