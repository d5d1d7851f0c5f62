/*
 * sink: the bytes of one Part on their way from a connection to the disk.
 *
 * One thread at a time. Writing blocks on the disk; nothing is buffered.
 */
#ifndef UPLOADFS_NET_SERVER_SINK_H
#define UPLOADFS_NET_SERVER_SINK_H

#include <stddef.h>
#include <stdint.h>

#include "net/server/model.h"

struct store;

struct sink {
	struct store *store;
	char owner[ID_SIZE], id[ID_SIZE];
	int fd; /* -1: not open */
	uint64_t bytes, max;
};

/* Open a Part. The directory of owner exists. max: bytes accepted at most. 0 or negative errno. */
int sink_open(struct sink *sink, struct store *store, const char *owner, const char *id,
	      uint64_t max);
/* Write data. 0, -EFBIG (beyond max; nothing of data was written), or another negative errno. */
int sink_write(struct sink *sink, const void *data, size_t len);
/* Give the Part its final name and start its writeback without waiting. */
int sink_commit(struct sink *sink);
void sink_abort(struct sink *sink); /* removes the Part; no-op when not open */

#endif
