/*
 * cache: content of Files on local disk, by File id, least recently used first out.
 *
 * STATE_DIR/cache/FILE_ID (0700/0600): each file there is whole. What is being
 * fetched lives in STATE_DIR/cache/.fetch/ until it is whole. Files never
 * change, so nothing is ever invalidated, only removed. The size bound counts
 * whole files; one that is open goes on working after it was evicted.
 * Any thread; blocks on the local disk. A File id that is no plain word is kept
 * under '%' and its MD5 instead.
 */
#ifndef UPLOADFS_FS_CONTENT_CACHE_H
#define UPLOADFS_FS_CONTENT_CACHE_H

#include <stddef.h>
#include <stdint.h>

#define CACHE_FILES_MAX 65536 /* Files kept at most, whatever their size */

struct cache;
struct pool;

/*
 * dir is created (its parent exists); left-overs in .fetch are removed; what
 * is there is taken over, ordered by the later of atime and mtime; what isn't
 * a regular file named by a File id is left alone. size_max 0: nothing is kept.
 * 0 or negative errno.
 */
int cache_open(const char *dir, uint64_t size_max, struct cache **ret);
void cache_close(struct cache *c); /* NULL is a no-op; the files stay */
/*
 * Sets the worker that unlinks evicted files. NULL, the default: the evicting thread unlinks them,
 * which may take seconds for a large file. Before worker ends, set NULL again; that waits for
 * unlinks already begun.
 */
void cache_set_worker(struct cache *c, struct pool *worker);

/* A read-only fd (O_CLOEXEC, the caller closes it) on the whole content if it is there with exactly
 * bytes bytes; marks it used. -ENOENT, or -EMFILE and the like. */
int cache_get(struct cache *c, const char *file_id, uint64_t bytes, int *ret_fd);
/*
 * The path under which content of file_id may be put (staged_give() renames to
 * it); call cache_added() once it stands there, which may evict others (or this
 * one, when it is larger than the bound: the caller's fd stays valid).
 * What stands there must be on stable storage already (a sealed staged file
 * is). cache_path: 0 or -ENAMETOOLONG. cache_added: 0; -ENOENT or -EIO when no
 * file of that size stands there, which is removed then.
 */
int cache_path(struct cache *c, const char *file_id, char *buf, size_t size);
int cache_added(struct cache *c, const char *file_id, uint64_t bytes);
void cache_remove(struct cache *c, const char *file_id);

/*
 * An unlinked-at-exit temporary for a fetch: *ret_fd read-write, O_CLOEXEC, the
 * caller closes it whenever it likes; token identifies the temporary for the
 * one call that ends it. cache_fetch_done() syncs it to disk (so not on the
 * network thread) and makes it the content of file_id; when the cache doesn't
 * keep it (0), or on an error, it is dropped. -EIO: it is not bytes bytes long.
 */
int cache_fetch_begin(struct cache *c, const char *file_id, uint64_t *ret_token, int *ret_fd);
int cache_fetch_done(struct cache *c, const char *file_id, uint64_t token, uint64_t bytes);
void cache_fetch_drop(struct cache *c, uint64_t token);

/*
 * For a full disk: evicts the least recently used until so many bytes are free
 * or nothing is left, and unlinks them, but for what the worker has begun with.
 * Returns their bytes.
 */
uint64_t cache_shrink(struct cache *c, uint64_t bytes);

uint64_t cache_used(struct cache *c); /* bytes of whole files */

#endif
