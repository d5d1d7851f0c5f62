/*
 * file: one staged file, the local bytes of a file written to the mount: ID.data (0600) and its
 * row in the store.
 *
 * A staged file knows its size, which bytes were written, a version for each part, and its MD5 as
 * far as hashed. It knows nothing of Uploads: the publication compares versions to tell whether a
 * sent Part is still right.
 *
 * Threads: all functions may be called from any thread and block on the local disk at most. Each
 * staged file has its own lock; below it are only the area's and the pool's.
 * Ownership: counted references; the inode and the publication hold one each.
 */
#ifndef UPLOADFS_FS_STAGE_FILE_H
#define UPLOADFS_FS_STAGE_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "fs/stage/limits.h"
#include "net/base/digest.h"
#include "net/base/jsonl.h"

struct record;
struct staged;
struct staging;

/* A new empty staged file with one reference. Save its record soon: see fs/state/data.h. */
int staged_create(struct staging *sg, struct staged **ret);
/*
 * Recovery: open a staged file of an earlier daemon by id (from staging_scan()), each id once, with
 * one reference, and load its row into ret_record, which the caller releases. All bytes up to the
 * size on disk count as written. A row without data reads as aborted, empty, and supersedes
 * nothing.
 *
 * 0; -ENOENT: a completed row without data, now dropped; -EBADMSG: the row makes no sense, or there
 * is less data than the row of a closed file tells (so save WRITING before a closed file is written
 * again); another negative errno.
 */
int staged_open(struct staging *sg, const char *id, struct record *ret_record, struct staged **ret);
struct staged *staged_ref(struct staged *st);
/* The last one may wait for a stretch of hashing; not in a hook. NULL is a no-op. */
void staged_unref(struct staged *st);

const char *staged_id(const struct staged *st); /* file name stem; valid as long as st */
/*
 * Return the descriptor of the data, for pread, or negative errno. It stays open as long as the
 * caller holds a reference of its own (staged_rest()).
 */
int staged_fd(struct staged *st);
/*
 * Close the descriptor if there are no more references than `idle`, the number of those whose
 * holders are known not to use it. The next use opens it again.
 */
void staged_rest(struct staged *st, unsigned idle);
uint64_t staged_size(struct staged *st);
/* True if all bytes of [start, end) are written; holes of a sealed and quiet file count. */
bool staged_covered(struct staged *st, uint64_t start, uint64_t end);

/*
 * A write is three steps: begin, put the bytes into the fd at off, end with the number that landed.
 * begin and end pair.
 *
 * begin: -EFBIG past 8 GiB; -ENOSPC; -ENOMEM; -EBUSY while sealed and after staged_give();
 * -EINPROGRESS: staged_await_change() first. On an error nothing is begun.
 * end: done < len is a short write. The whole range counts as touched, [off, off + done) as
 * written. The size moves here.
 */
int staged_write_begin(struct staged *st, uint64_t off, uint64_t len, int *ret_fd);
void staged_write_end(struct staged *st, uint64_t off, uint64_t len, uint64_t done);
/* Errors of begin, or of ftruncate(2). */
int staged_truncate(struct staged *st, uint64_t size);
/* Check what needs no file: mode, and -EINVAL for len 0. 0 or negative errno. */
int staged_check_fallocate(int mode, uint64_t off, uint64_t len);
/*
 * mode as for fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE[|KEEP_SIZE]; else
 * -EOPNOTSUPP. Zeroed ranges no longer count as written. Errors of begin, of
 * staged_check_fallocate(), or of fallocate(2).
 */
int staged_fallocate(struct staged *st, int mode, uint64_t off, uint64_t len);

/*
 * Refuse writes, truncations and fallocates with -EBUSY from now on. Writes under way end first:
 * true if there are none, false if the last staged_write_end() will call on_quiet. Then the size is
 * final and every byte up to it counts as written (holes are zeros), so that the MD5 runs to the
 * end. On a sealed file only the state is returned.
 */
bool staged_seal(struct staged *st);
/* Undo the seal: holes are holes again. */
void staged_unseal(struct staged *st);
/* True if sealed and no write is under way. */
bool staged_sealed_quiet(struct staged *st);

/*
 * The version of the parts that [start, end) touches; 0 before the first write. It changes with
 * every write, truncation or hole in their bytes, after the bytes have landed. Bytes that were read
 * are still right if the version of the sealed and quiet file equals the one before the read.
 */
uint32_t staged_version(struct staged *st, uint64_t start, uint64_t end);

/*
 * Watch [start, end) for a reader that reads it in order while it is written, by steps of step
 * bytes. Returns the id. One watch a file: a new one replaces the former.
 */
uint32_t staged_watch(struct staged *st, uint64_t start, uint64_t end, uint64_t step);
/* Bytes from start on that are written, by whole steps but for the end. 0: a former watch. */
uint64_t staged_watch_filled(struct staged *st, uint32_t id);
/*
 * The same for a reader that has read at of them: the bytes count as read from now on. If the
 * result is at, the reader waits: on_fill is called once there is more.
 */
uint64_t staged_watch_read(struct staged *st, uint32_t id, uint64_t at);
enum staged_news {
	STAGED_NEWS_NONE,
	STAGED_NEWS_MORE, /* a waiting reader can go on, or all is there; each once */
	STAGED_NEWS_TORN  /* bytes that count as read were written again or cut off */
};
enum staged_news staged_watch_news(struct staged *st, uint32_t id);
/*
 * True if all bytes count as read and none is torn: the reader has the bytes of *ret_version
 * (staged_version()).
 */
bool staged_watch_right(struct staged *st, uint32_t id, uint32_t *ret_version);

/*
 * The MD5 of all bytes. 0; -EAGAIN: not hashed yet (on_digest tells once sealed); another negative
 * errno: reading failed, until the file is changed or sealed anew.
 */
int staged_md5(struct staged *st, char ret_hex[DIGEST_HEX_SIZE]);
/*
 * Hash what is left of a sealed file on the calling thread if that is short; else, and where a
 * worker has begun, the workers do it. on_digest does not tell of the former. Reads the data.
 */
void staged_hash_short(struct staged *st);
/* Hash a sealed file again from its first byte, to find damage on disk. on_digest tells the end. */
void staged_rehash(struct staged *st);

/*
 * The MD5 of the file's beginnings, as far as hashed: of its first (i + 1) * *ret_step bytes the
 * i-th DIGEST_SIZE bytes of *ret, which the caller frees. *ret_step is the area's part size. 0 or
 * -ENOMEM.
 */
int staged_prefixes(struct staged *st, uint64_t *ret_step, unsigned char **ret, size_t *ret_count);
/*
 * The file may become equal to another, of which such prefixes are known; they are copied. From now
 * on each is compared once so many bytes are hashed. step 0: it may not. 0 or -ENOMEM.
 */
int staged_expect(struct staged *st, uint64_t step, const unsigned char *prefixes, uint64_t count);
/* True if a comparison showed another MD5; on_fill has told. */
bool staged_differs(struct staged *st);

/*
 * Check from now on that the bytes are JSON Lines (net/base/jsonl.h); or not any more. A file that
 * has bytes is hashed again for that.
 */
void staged_set_check(struct staged *st, bool on);
/*
 * 0: the bytes are right, or not checked; -EINVAL: ret_text tells the fault; -EAGAIN and other
 * errors: as staged_md5().
 */
int staged_fault(struct staged *st, char ret_text[JSONL_TEXT_SIZE]);

/* Called from any thread without locks held; must not block. */
struct staged_hooks {
	/*
	 * A part became fully covered (the last part of a size set by truncation or fallocate: up
	 * to that size), a watch's reader can go on, or the bytes differ from those expected.
	 */
	void (*on_fill)(void *arg);
	void (*on_quiet)(void *arg); /* see staged_seal() */
	/* The MD5 of a sealed file is known, or failed: once for each staged_seal() that seals. */
	void (*on_digest)(void *arg);
	void *arg;
	bool hashes_short; /* arg calls staged_hash_short() after each staged_seal() */
};
/*
 * Set the hooks once, before the first write. Clear them with NULL before arg goes away: the call
 * returns when no hook is running, so not from a hook nor under a lock that a hook takes.
 */
void staged_set_hooks(struct staged *st, const struct staged_hooks *hooks);

/* The data file's mtime. 0 or negative errno. */
int staged_mtime(struct staged *st, struct timespec *ret);
/* Set the data file's mtime so that it survives a restart; best effort. The next write moves it. */
void staged_set_mtime(struct staged *st, const struct timespec *mtime);

/*
 * Bring the data and its name to stable storage. An error is final: until the file is cut to
 * nothing every later call returns -EIO, unless the file is sealed, its MD5 was known before the
 * failure, and the data could be copied to a new file, with that MD5, and synced there. 0 or
 * negative errno.
 */
int staged_sync(struct staged *st);
/* True if the bytes as they are now are on stable storage. */
bool staged_synced(struct staged *st);
/* True if a sync or write-back of the bytes has failed: staged_sync() before they are used. */
bool staged_broken(struct staged *st);
/*
 * 0 if no write-back of the bytes has failed so far: the MD5 of a sealed file, if it is known, is
 * noted for staged_sync(). Else negative errno, as after a failed staged_sync(). Waits for nothing.
 */
int staged_check(struct staged *st);
/*
 * Wait until the row as saved last survives a power cut. 0; -ENOENT: the file has no name any more;
 * -ENODATA: its row was dropped (staged_drop_record()) or never saved; another negative errno.
 */
int staged_sync_record(struct staged *st);
/*
 * The bytes of a file of an earlier daemon were compared with the MD5 of its row. right: they count
 * as written in this era (datadir_era()). Else staged_give() refuses them.
 */
void staged_compared(struct staged *st, bool right);
/*
 * After -EINPROGRESS: wait until the row on stable storage no longer tells of closed bytes. Blocks;
 * hold no lock. 0; -ENODATA: the row was never saved so, see staged_row_is_stale().
 */
int staged_await_change(struct staged *st);
/* True if the row tells of closed bytes though the file is written: save it as WRITING first. */
bool staged_row_is_stale(const struct staged *st);
/*
 * Write the row; one save at a time. durable: it survives a power cut on return, so hold no lock;
 * else a kill -9. 0; -ESTALE: the file has no name any more; another negative errno.
 */
int staged_save_record(struct staged *st, const struct record *r, bool durable);
/*
 * The same for a file that is written again (files_reopen()), with the Files that r supersedes.
 * Survives a kill -9.
 */
int staged_save_writing(struct staged *st, const struct record *r);
/* A new place, and what goes with it. Lists are NULL, or ended by NULL. */
struct staged_place {
	const char *purpose, *path;
	struct staged *victim;	       /* removed: st comes in its place; or NULL */
	const char *const *superseded; /* Files that st replaces besides those it has */
	const char *const *spared;     /* Files that it replaces no more */
};
/*
 * One commit before the reply to a rename. Survives kill -9, and a power cut after
 * staged_sync_record(). 0 or negative errno: then nothing changed.
 */
int staged_rename(struct staged *st, const struct staged_place *to);
/*
 * Mark st as the copy of a File that was not changed: until complete is asked, the next mount drops
 * it, for the File stands. Its first change ends the mark, by a commit before that. 0 or negative
 * errno. moved: the File's id, if a rename is going to move it; or NULL.
 */
int staged_mark_copy(struct staged *st, const char *moved);
bool staged_is_copy(const struct staged *st);
/* True if st is the copy that a rename made of that File: it goes, whatever else is kept. */
bool staged_moves(struct staged *st, const char *file_id);
/*
 * The commit that says that st is a File (or empty for good) removes all other staged files of its
 * name, too. False takes that back.
 */
void staged_intend(struct staged *st, bool takes_place);
/*
 * Commit what the next File is to have: a type (NULL: by its ending), a lifetime in seconds and a
 * declared size in bytes (0: none). Survives kill -9. 0 or negative errno: then nothing changed.
 */
int staged_save_wishes(struct staged *st, const char *mime_type, uint64_t expires_after,
		       uint64_t declared);
/* The same for its mode, owner and group. */
int staged_save_owner(struct staged *st, uint32_t mode, uint32_t uid, uint32_t gid);
/* The same for whether its lines have to be JSON objects. */
int staged_save_check(struct staged *st, bool on);
/* Its row gets another name otherwise (attrs_dir_move()): saves leave that alone from now on. */
void staged_placed(struct staged *st);
/* The same for an unlink: the next mount publishes nothing of it. 0 or negative errno. */
int staged_unlink(struct staged *st);
/*
 * Drop a row that is wrong and can't be replaced: the next open sets the data aside. Without room
 * for that no byte can be changed until the row is saved.
 */
void staged_drop_record(struct staged *st);

/*
 * Keep data and row at the last unref, for the next mount. Without it they are removed then, unless
 * staged_open() made st.
 */
void staged_keep(struct staged *st);
/*
 * Remove the row now and the data once that is durable. The fd stays good, also for writing. Saves
 * return -ESTALE from now on.
 */
void staged_remove(struct staged *st);
/*
 * Give the data to another owner: take(arg, data) commits, in one transaction, that the row is
 * dropped (files_drop()) and that the data of that id is the other's. take() runs under the locks
 * of st; it may use the store and no staged file. The fd stays valid, the bytes are the other's:
 * not counted here, never written again, and staged_keep() and staged_remove() do nothing. 0;
 * -EBUSY: a write is under way; -EBADMSG: the bytes are not sure; -ESTALE: the file has no name any
 * more; or take()'s error: nothing changed.
 */
int staged_give(struct staged *st, int (*take)(void *arg, const char *data), void *arg);

#endif
