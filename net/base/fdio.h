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

#endif
