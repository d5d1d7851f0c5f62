/*
 * learned: facts about a service that mounts have seen, kept for later ones.
 *
 * Threads: any. Take the lock of the store.
 */
#ifndef UPLOADFS_FS_STATE_LEARNED_H
#define UPLOADFS_FS_STATE_LEARNED_H

#include <stdint.h>

struct statedb;

/* Make the missing table. Call once, before the others. 0 or negative errno. */
int learned_define(struct statedb *db);
/*
 * Read the number kept as name for the service, a base URL or the like. 0; -ENOENT: none is kept;
 * another negative errno.
 */
int learned_get(struct statedb *db, const char *service, const char *name, int64_t *ret);
/* Keep the number; it survives a power cut on return. Blocks on the disk. 0 or negative errno. */
int learned_set(struct statedb *db, const char *service, const char *name, int64_t number);

#endif
