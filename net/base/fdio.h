/*
 * fdio: whole buffers to file descriptors.
 */
#ifndef UPLOADFS_NET_BASE_FDIO_H
#define UPLOADFS_NET_BASE_FDIO_H

#include <stddef.h>
#include <stdint.h>

/*
 * Writes all of data at fd's own position, over as many calls as it takes. 0 or a negative errno;
 * *written (may be NULL) grows by what went out either way. Blocks as write(2) does; any thread.
 */
int fdio_write(int fd, const void *data, size_t len, uint64_t *written);

/*
 * Opens /dev/null in the place of each of the descriptors 0 to 2 that is closed: else a file
 * opened later has its number, and is written to by whoever prints. 0 or negative errno. Call
 * first of all.
 */
int fdio_fill_standard(void);

/*
 * Return err. Log -EMFILE and -ENFILE once a process, with the limit and what raises it. Call where
 * a descriptor could not be opened. Any thread.
 */
int fdio_told(int err);

#endif
