/*
 * core: everything of a daemon but FUSE: lock, server, API, storage, publisher,
 * vfs; started and ended in order. Used by the mount and by
 * `uploadfs recover publish`. One thread starts and ends it; other threads may call core_read_key()
 * and the parts, as each part allows.
 */
#ifndef UPLOADFS_FS_DAEMON_CORE_H
#define UPLOADFS_FS_DAEMON_CORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct api;
struct attrs;
struct buf;
struct cache;
struct datadir;
struct fetcher;
struct listener;
struct pool;
struct opts;
struct publisher;
struct server;
struct shared;
struct staging;
struct status_source;
struct statedb;
struct vfs;

struct core {
	struct opts *opts; /* borrowed; its key under key_lock once started */
	int lock_fd;	   /* holds the lock of the state directory */
	int64_t started;   /* seconds since the epoch */
	char *service;	   /* "https://HOST/v1" or "local:DIR" */
	char *tenant;	   /* organization and project */
	struct server *server;
	struct api *api;
	struct pool *md5, *disk;
	struct datadir *data;
	struct staging *staging;
	struct cache *cache;
	struct fetcher *fetcher;
	struct shared *shared; /* of shared_cache; or NULL */
	struct statedb *statedb;
	struct attrs *attrs;
	struct publisher *publisher;
	struct vfs *vfs;
	struct listener *listener; /* of metrics_listen; or NULL */
	pthread_mutex_t key_lock;
	atomic_bool probing; /* a request asks only for the health */
};

/*
 * Fill c and take over the files of an earlier daemon. 0, or a negative errno after a log line.
 * Call core_finish() and core_free() in both cases. ending: core_finish() follows at once.
 */
int core_start(struct opts *opts, bool ending, struct core *c);
/*
 * Wait up to drain_s for closed files, then end publisher and API; calls that still wait are
 * answered. Blocks. True if every written file is a File; otherwise logs those that are not.
 */
bool core_finish(struct core *c, unsigned drain_s);
void core_free(struct core *c);
/* Log where the state directory is, if the default can't hold it. */
void core_tell_place(const struct core *c);

/* Read the key file again. True: a different key is in use now. arg: the core. */
bool core_read_key(void *arg);
/* The sources of the status; their pointers live as long as c. */
void core_status(struct core *c, struct status_source *ret);

#endif
