/*
 * partlist: the finished Parts of an Upload as found on disk, oldest first: the best guess of the
 * order in which they were sent.
 */
#ifndef UPLOADFS_NET_SERVER_PARTLIST_H
#define UPLOADFS_NET_SERVER_PARTLIST_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "net/server/model.h"

struct store;

struct found_part {
	char id[ID_SIZE];
	uint64_t bytes;
	struct timespec mtime;
};

struct part_list {
	struct found_part *v;
	size_t count, room;
};

/*
 * Load a list; the caller releases it. 0, -ENOENT (no such directory), or another negative errno.
 */
int part_list_load(struct part_list *ret, struct store *store, const char *owner);
void part_list_release(struct part_list *list);

#endif
