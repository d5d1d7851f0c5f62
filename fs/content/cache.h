/*
 * cache: content of Files on local disk, by File id, least recently used first out.
 *
 * Cached content is a row of the store (fs/state/cached.h) and a data file (fs/state/data.h) that
 * keeps its name. Files never change, so nothing is ever invalidated, only dropped. The size bound
 * counts whole files; one that is open goes on working after it was evicted.
 *
 * Bytes that were not synced before the host or the file system went down are compared with their
 * MD5 before the first use. Content that is to be published again is compared by its user:
 * cache_copy.md5, cache_reject().
 *
 * Any thread; blocks on the local disk unless said otherwise. A File id passed in has been checked
 * by api_id_valid().
 */
#ifndef UPLOADFS_FS_CONTENT_CACHE_H
#define UPLOADFS_FS_CONTENT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/state/data.h"
#include "net/base/digest.h"

#define CACHE_FILES_MAX 65536 /* Files kept at most, whatever their size */

struct cache;
struct pool;
struct statedb;

/*
 * Take over the rows of db. data and db (borrowed) outlive *ret. size_max 0: nothing is kept. 0 or
 * negative errno.
 */
int cache_open(struct datadir *data, struct statedb *db, uint64_t size_max, struct cache **ret);
/* Writes last uses. NULL is a no-op; the content stays. */
void cache_close(struct cache *c);
/*
 * Set the worker that drops rows of evicted content and writes last uses (at most once a minute).
 * NULL, the default: the calling thread does. Set NULL before the worker ends.
 */
void cache_set_worker(struct cache *c, struct pool *worker);

struct cache_copy {
	int fd;			   /* read-only, O_CLOEXEC; the caller closes it */
	char data[DATA_ID_SIZE];   /* for cache_reject() */
	char md5[DIGEST_HEX_SIZE]; /* of the bytes as they were put here; "": unknown */
};
/*
 * Open the whole content if it is here with exactly bytes bytes, and mark it used. Unsure content
 * is read and compared first; what is wrong is dropped. 0; -ENOENT; or -EMFILE and the like.
 */
int cache_get(struct cache *c, const char *file_id, uint64_t bytes, struct cache_copy *ret);
/*
 * The content of file_id was found wrong: drop it, if data is still what is kept. Never blocks once
 * a worker is set.
 */
void cache_reject(struct cache *c, const char *file_id, const char *data);

/*
 * Make the data of a staged file the content of file_id: one transaction drops its row and adds
 * ours. For staged_give(). synced: the bytes are on stable storage. 0; -EFBIG: the bound does not
 * allow it; another negative errno: nothing changed.
 */
int cache_adopt(struct cache *c, const char *file_id, const char *data, uint64_t bytes,
		const char *md5, bool synced);
/* Drop the content of each File for which keep() returns false; it runs without locks. */
void cache_sweep(struct cache *c, bool (*keep)(void *arg, const char *file_id), void *arg);
/* Drop the content of file_id. Never blocks once a worker is set. */
void cache_remove(struct cache *c, const char *file_id);

/*
 * Make a data file for a fetch. *ret_fd: read-write, O_CLOEXEC, the caller closes it whenever it
 * likes; token identifies the file for the one call that ends it. A crash before that removes it.
 */
int cache_fetch_begin(struct cache *c, uint64_t *ret_token, int *ret_fd);
/*
 * Make the fetched bytes the content of file_id and tell their MD5; reads them, so not on the
 * network thread. If the cache does not keep them, or on an error, they are dropped. 0: kept;
 * -EFBIG: not kept; -EIO: the file is not bytes bytes long; another negative errno.
 */
int cache_fetch_done(struct cache *c, const char *file_id, uint64_t token, uint64_t bytes,
		     char ret_md5[DIGEST_HEX_SIZE]);
/* Never blocks once a worker is set (datadir_set_worker()). */
void cache_fetch_drop(struct cache *c, uint64_t token);

/*
 * For a full disk: evict the least recently used until so many bytes are free or nothing is left,
 * and unlink them. Blocks for seconds: not on the network thread. Returns their bytes.
 */
uint64_t cache_shrink(struct cache *c, uint64_t bytes);

uint64_t cache_used(struct cache *c); /* bytes of whole files */

#endif
