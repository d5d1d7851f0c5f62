/*
 * staging: staged files, the local bytes of what is written to the mount.
 *
 * struct staging is the area on disk (STATE_DIR/staging, 0700); struct staged
 * is one staged file: ID.data (0600) and its row in the store. A staged file knows
 * its size, which bytes were written, how far they are contiguous from 0, a
 * version for each part, and its MD5 as far as hashed (pool.h does the work).
 * It knows nothing of Uploads: the publication compares part versions to tell
 * whether a Part that was sent is still right.
 *
 * Threads: all functions may be called from any thread; each staged file has
 * its own lock, a leaf: nothing else is taken under it but the area's count of
 * bytes and the pool's queue. Functions block on the local disk at most.
 * Ownership: counted references; the file's inode and its publication hold one
 * each. What happens to the files on disk at the last unref depends on the
 * last of staged_discard() / staged_keep() / staged_give().
 */
#ifndef UPLOADFS_FS_STAGE_AREA_H
#define UPLOADFS_FS_STAGE_AREA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "net/base/digest.h"

#define STAGED_SIZE_MAX (8ULL << 30) /* bytes; an Upload cannot be larger (API_UPLOAD_MAX) */

struct staging;
struct staged;
struct pool;
struct record;
struct statedb;

struct staging_config {
	const char *dir;    /* created 0700 when missing */
	uint64_t part_size; /* bytes that share a version, > 0: layout_block() */
	uint64_t size_max;  /* bytes all staged files may take together; 0: the disk decides */
	uint64_t reserve;   /* bytes left free on the disk */
	struct pool *pool;  /* of MD5; borrowed; outlives the staging area */
	struct statedb *db; /* borrowed; outlives the staging area */
};

/*
 * Locks the directory: -EBUSY while another process (or another struct staging)
 * has it. Before anything else it removes what a dead daemon left half done:
 * data whose row was dropped, and, if the store is intact, data that never had
 * a row, which goes to damaged/ unless it is empty. -EINVAL: no pool, no part
 * size or no store. -EPROTONOSUPPORT, after a log line: records of a former version.
 */
int staging_open(const struct staging_config *cfg, struct staging **ret);
/*
 * Data is unlinked by that worker from now on, since a durable commit comes before; NULL, as at
 * first: by the caller of what removes it. Set it to NULL before the worker ends.
 */
void staging_set_worker(struct staging *sg, struct pool *disk);
void staging_close(struct staging *sg); /* after all staged files are gone; NULL is a no-op */
uint64_t staging_part_size(const struct staging *sg);

struct staging_space {
	uint64_t used;		       /* bytes of all staged files: their sizes, holes included */
	uint64_t disk_size, disk_free; /* bytes of the file system it is on, as statvfs tells */
	unsigned files;
};
int staging_get_space(struct staging *sg, struct staging_space *ret);

/* A new empty staged file with one reference. Save its record soon: see staging_open(). */
int staged_create(struct staging *sg, struct staged **ret);
/*
 * Recovery: opens a staged file left by an earlier daemon, by id (from
 * staging_scan()), each id once. All its bytes up to the size on disk count as
 * written. Loads its row into ret_record (the caller releases it). A row whose
 * data is missing reads as aborted, without bytes, and supersedes nothing; of a
 * completed one the row is dropped: -ENOENT. -EBADMSG: a row that makes no
 * sense, or less data than the row of a closed file tells (so save a row in
 * state WRITING before a closed file is written anew). The file is kept at the
 * last unref, unless told otherwise.
 */
int staged_open(struct staging *sg, const char *id, struct record *ret_record, struct staged **ret);
/*
 * Calls fn for the id of each row, in order of the ids; fn may open or set
 * aside that id. Stops at fn's error and returns it.
 */
int staging_scan(struct staging *sg, int (*fn)(void *arg, const char *id), void *arg);
/* Moves the data of id to STATE_DIR/staging/damaged/, and marks its row. 0 or negative errno. */
int staging_set_aside(struct staging *sg, const char *id);

struct staged *staged_ref(struct staged *st);
/* The last one may wait for a stretch of hashing. Not the last one in a hook. NULL is a no-op. */
void staged_unref(struct staged *st);

const char *staged_id(const struct staged *st); /* file name stem; valid as long as st */
int staged_fd(const struct staged *st);		/* for pread; open as long as st */
uint64_t staged_size(struct staged *st);
uint64_t staged_contiguous(struct staged *st); /* bytes [0, result) are written */
bool staged_covered(struct staged *st, uint64_t start, uint64_t end);

/*
 * A write is three steps: begin, put the bytes into the fd at off, end with
 * the number that landed. begin and end must pair.
 * begin: -EFBIG past 8 GiB, -ENOSPC, -ENOMEM, -EBUSY while sealed and for ever
 * after staged_give() (nothing is begun then). end: done < len is a short
 * write; the whole range counts as touched, but only [off, off + done) as
 * written. The size moves with end, not with begin.
 */
int staged_write_begin(struct staged *st, uint64_t off, uint64_t len, int *ret_fd);
void staged_write_end(struct staged *st, uint64_t off, uint64_t len, uint64_t done);
/* Errors as for begin, or of ftruncate(2). */
int staged_truncate(struct staged *st, uint64_t size);
/*
 * mode as for fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE,
 * ZERO_RANGE[|KEEP_SIZE]; else -EOPNOTSUPP. Zeroed ranges no longer count as
 * written. Errors as for begin, -EINVAL for len 0, or of fallocate(2).
 */
int staged_check_fallocate(int mode, uint64_t off, uint64_t len); /* what needs no file to tell */
int staged_fallocate(struct staged *st, int mode, uint64_t off, uint64_t len);

/*
 * Sealing: from now on writes, truncations and fallocates get -EBUSY. Writes
 * begun before end first: true when there are none, false when the last
 * staged_write_end() will call on_quiet. The size is final when quiet. From
 * then on every byte up to the size counts as written (holes are zeros), so
 * the MD5 runs to the end. Unsealing undoes it: holes are holes again. Sealing
 * a sealed file only asks for the state.
 */
bool staged_seal(struct staged *st);
void staged_unseal(struct staged *st);
bool staged_sealed_quiet(struct staged *st); /* sealed and no write under way */

/*
 * The version of the parts in which [start, end) lies, which may be several: it
 * changes with every write, truncation or hole that touches their bytes, after
 * the bytes have landed; 0 before the first. So bytes that were read are still
 * right if their version is now, in a sealed and quiet file, what it was before
 * the reading: a write under way at that time counts when it ends.
 */
uint32_t staged_version(struct staged *st, uint64_t start, uint64_t end);

/*
 * Watching: for who reads [start, end) while it is being written, in its order. One
 * watch a file; a new one, whose id is returned, takes the place of the former.
 *
 * staged_watch_read() tells how many bytes from start on may be read, when at of
 * them were; 0 for a former watch. By whole steps, but for the end. When that is not
 * more than at, the reader waits: on_fill is called once there is more.
 *
 * staged_watch_news(): MORE when there is something for a reader that waits, and
 * once when all is there, each told once; TORN when bytes that it was told of were
 * written again, or are there no more. staged_watch_right(): all was told, and none
 * of it is torn: what was read are the bytes of *ret_version, see staged_version().
 */
enum staged_news { STAGED_NEWS_NONE, STAGED_NEWS_MORE, STAGED_NEWS_TORN };
uint32_t staged_watch(struct staged *st, uint64_t start, uint64_t end, uint64_t step);
uint64_t staged_watch_filled(struct staged *st, uint32_t id); /* the same, read by nobody */
uint64_t staged_watch_read(struct staged *st, uint32_t id, uint64_t at);
enum staged_news staged_watch_news(struct staged *st, uint32_t id);
bool staged_watch_right(struct staged *st, uint32_t id, uint32_t *ret_version);

/*
 * The MD5 of the whole: 0 when all bytes up to the size are hashed and nothing
 * was rewritten since; -EAGAIN when not yet (on_digest will tell, once sealed);
 * another negative errno when reading failed (sticky until the file is changed
 * or sealed anew).
 */
int staged_md5(struct staged *st, char ret_hex[DIGEST_HEX_SIZE]);

/*
 * Hashes a sealed file again from its first byte: is what is on disk still what was written?
 * on_digest tells.
 */
void staged_rehash(struct staged *st);

/*
 * Hooks, called from any thread without locks held; must not block. Set once,
 * before the first write; cleared with NULL by the owner before arg goes away
 * (the call returns when no hook is running, so not from a hook, and with no
 * lock held that a hook takes).
 *   on_fill   a part that was not fully covered became so; the last part of a
 *             size set by truncation or fallocate counts up to that size. Also
 *             what staged_watch() says
 *   on_quiet  see staged_seal()
 *   on_digest the MD5 of a sealed file became known, or failed: once for each
 *             staged_seal() that seals, also when it was known before
 */
struct staged_hooks {
	void (*on_fill)(void *arg);
	void (*on_quiet)(void *arg);
	void (*on_digest)(void *arg);
	void *arg;
};
void staged_set_hooks(struct staged *st, const struct staged_hooks *hooks);

/*
 * The time of the data file, which is where an mtime outlives the daemon: the next write moves it.
 * May fail without a word; nothing of the content depends on it.
 */
void staged_set_mtime(struct staged *st, const struct timespec *mtime);

/* Data to stable storage (fdatasync). 0 or negative errno. */
int staged_sync(struct staged *st);
/* The row as it was saved last, and the name. 0, -ENOENT (no row) or another negative errno. */
int staged_sync_record(struct staged *st);
/*
 * Writes the row. durable: returns when it survives a power cut, so hold no
 * lock; else a kill -9. One at a time. -ESTALE when it has no name any more.
 */
int staged_save_record(struct staged *st, const struct record *r, bool durable);
/*
 * One commit before the reply to a rename: st is purpose/path from now on, and victim (or NULL), in
 * whose place it comes, is removed; superseded (NULL, or ended by NULL) names the Files that st
 * replaces from now on, besides those its record has. Survives kill -9, and a power cut after
 * staged_sync_record(). 0 or negative errno: then neither changed.
 */
int staged_rename(struct staged *st, const char *purpose, const char *path, struct staged *victim,
		  const char *const *superseded);
/* Its row gets another name otherwise (attrs_dir_move()): saves leave that alone from now on. */
void staged_placed(struct staged *st);
/* The same for an unlink: the next mount publishes nothing of it. 0 or negative errno. */
int staged_unlink(struct staged *st);
/* For one that is wrong and can't be replaced: the data alone is set aside at the next open. */
void staged_drop_record(struct staged *st);

/*
 * What happens to the disk files at the last unref; the last call counts.
 * Default: discard after staged_create(), keep after staged_open().
 */
void staged_discard(struct staged *st); /* row, then data are removed */
void staged_keep(struct staged *st);	/* both stay, for the next mount */
/*
 * As staged_discard(), but the row goes now: for what nobody may find again,
 * should the daemon die. The data is unlinked once that is durable. The fd stays
 * good, also for writing. Rows saved from now on are -ESTALE.
 */
void staged_remove(struct staged *st);
/*
 * Now: renames the data file to path (same file system) and drops the
 * row; the fd stays valid. The bytes are another's from now on: they are no
 * longer counted here, never written again, and the calls above do nothing.
 * 0, -EBUSY while a write is under way, or another negative errno (then nothing
 * changed).
 */
int staged_give(struct staged *st, const char *path);

#endif
