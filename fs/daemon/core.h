/*
 * core: everything of a daemon but FUSE: lock, server, API, storage, publisher,
 * vfs; started and ended in order. The mount and `uploadfs recover publish`
 * stand on it. One thread starts and ends it; core_read_key() and what the
 * parts themselves allow may be called from others meanwhile.
 */
#ifndef UPLOADFS_FS_DAEMON_CORE_H
#define UPLOADFS_FS_DAEMON_CORE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct api;
struct attrs;
struct buf;
struct cache;
struct fetcher;
struct pool;
struct opts;
struct publisher;
struct server;
struct staging;
struct status_source;
struct statedb;
struct vfs;

struct core {
	struct opts *opts; /* borrowed; its key under key_lock once started */
	int lock_fd;	   /* holds the lock of the state directory */
	int64_t started;   /* seconds since the epoch */
	char *service;	   /* "https://HOST/v1" or "local:DIR" */
	struct server *server;
	struct api *api;
	struct pool *md5, *disk;
	struct staging *staging;
	struct cache *cache;
	struct fetcher *fetcher;
	struct statedb *statedb;
	struct attrs *attrs;
	struct publisher *publisher;
	struct vfs *vfs;
	pthread_mutex_t key_lock;
};

/*
 * Fills c, and takes up what an earlier daemon left. 0, or a negative errno after a log line;
 * core_finish() and core_free() are called in any case. ending: core_finish() follows at once.
 */
int core_start(struct opts *opts, bool ending, struct core *c);
/*
 * Waits up to drain_s for what is closed, then ends publisher and API: who still waits is
 * answered. Blocks. Returns whether all that was written is a File; else says so in the log.
 */
bool core_finish(struct core *c, unsigned drain_s);
void core_free(struct core *c);

/* Reads the key file again. True: there is another key, and it is in use now. arg: the core. */
bool core_read_key(void *arg);
/* What the status is made from; its pointers live as long as c. */
void core_status(struct core *c, struct status_source *ret);

#endif
