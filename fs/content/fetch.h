/*
 * fetch: the content of a File from the service, into the cache, handed on as
 * it arrives.
 *
 * One struct fetch per File under way, shared by all its readers: many readers
 * cause one download. A read that lies in what has arrived is answered at
 * once; one that lies beyond waits for a callback. Where the service honours
 * Range, what is read is fetched, and the further a reader has come the more is
 * asked for ahead of it, in several requests; a reader that stops makes that
 * stop. Where it does not, one stream goes on to the end while a reader holds
 * the File. Any thread; callbacks run on the network thread, or on the worker
 * of fetcher_set_worker(), without locks held, and must not block; blocks on the
 * local disk at most.
 */
#ifndef UPLOADFS_FS_CONTENT_FETCH_H
#define UPLOADFS_FS_CONTENT_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/base/digest.h"

struct api;
struct api_error;
struct cache;
struct fetcher;
struct fetch;
struct pool;
struct shared;

/* parallel: requests under way at once for one File, 1 to 16; others are cut to that. */
int fetcher_new(struct api *api, struct cache *cache, unsigned parallel, struct fetcher **ret);
/*
 * Set the worker that makes room on a full disk. NULL, the default: the network thread does. Set
 * NULL before the worker ends.
 */
void fetcher_set_worker(struct fetcher *f, struct pool *worker);
/* Look into a shared directory first. Before the first fetch_open(); it outlives the fetcher. */
void fetcher_set_shared(struct fetcher *f, struct shared *shared);
/*
 * After api_free() of its api and shared_stop(), so that no callback is under way. A fetch that
 * is still open is freed with it, its reads answered with -EINTR. NULL is a no-op.
 */
void fetcher_free(struct fetcher *f);

/*
 * A reference to the content of file_id, bytes long: from the cache, or from a
 * fetch already under way, or from a new one, which starts at the first read
 * that needs it. 0 or negative errno.
 */
int fetch_open(struct fetcher *f, const char *file_id, uint64_t bytes, struct fetch **ret);
/* Tell the MD5 of the File, before the first read. It is compared with what others share. */
void fetch_expect(struct fetch *ft, const char *md5);
struct fetch *fetch_ref(struct fetch *ft); /* one more, to be closed as well */
uint64_t fetch_bytes(const struct fetch *ft);
/*
 * True if the content is a copy that the cache had when the fetch began. ret_md5: of the bytes that
 * were put there; "": unknown.
 */
bool fetch_get_md5(struct fetch *ft, char ret_md5[DIGEST_HEX_SIZE]);
/*
 * The copy in the cache was found wrong: the cache drops it, the next fetch_open() fetches the
 * content, and reads of this fetch fail with -EIO from now on. For a fetch with an MD5.
 */
void fetch_reject(struct fetch *ft);
/*
 * The last close of an unfinished fetch cancels it; what has arrived is
 * dropped, and reads that still wait get -EINTR. The last close of a whole one
 * puts it into the cache, which reads it for its MD5: so not on the network thread
 * (its callbacks must not close). NULL is a no-op.
 */
void fetch_close(struct fetch *ft);

/*
 * Calls cb exactly once, perhaps before returning: err 0 and an fd (borrowed,
 * valid until the callback returns) in which [off, off + len) stands, len cut
 * at the end of the File (0: at or past the end, and fd may be -1 then); or a
 * negative errno with a text. A fetch that failed is tried anew, from where it
 * stopped, by the next read. The end of the File is seen by a read only after
 * the length was checked.
 */
typedef void fetch_read_cb(void *arg, int err, const char *error_text, int fd, uint64_t off,
			   size_t len);
void fetch_read(struct fetch *ft, uint64_t off, size_t len, fetch_read_cb *cb, void *arg);
/*
 * Gives up a read that waits: the first one with that cb for whose arg match(arg, key) is true.
 * Returns its arg; NULL: none waits, its callback has run, runs, or is about to. match runs under
 * the fetcher's lock.
 */
void *fetch_read_cancel(struct fetch *ft, fetch_read_cb *cb,
			bool (*match)(const void *arg, const void *key), const void *key);

/* Calls cb once the whole content stands in the fd (off 0), or with an error. */
void fetch_all(struct fetch *ft, fetch_read_cb *cb, void *arg);

#endif
