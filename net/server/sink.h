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

/* Negative errno. The directory of owner exists. max: more bytes than that are refused. */
int sink_open(struct sink *sink, struct store *store, const char *owner, const char *id,
	      uint64_t max);
/* 0, -EFBIG (beyond max; nothing of data was written), or another negative errno. */
int sink_write(struct sink *sink, const void *data, size_t len);
/* Gives the Part its final name and starts its way to the disk without waiting. */
int sink_commit(struct sink *sink);
void sink_abort(struct sink *sink); /* removes it; no-op when not open */

#endif
