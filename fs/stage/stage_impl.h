/*
 * stage_impl: what the files of fs/stage share. Nobody else includes it.
 *   area.c     the area on disk: space, scan, damaged files
 *   file.c     one staged file: life, record, what becomes of it
 *   hooks.c    set and call the hooks
 *   write.c    writes, truncation, sealing
 *   version.c  part versions
 *   digest.c   the hashing job
 *   follow.c   reading what is being written
 *
 * Lock order: staged.record_lock, then staged.lock, then one of staging.lock
 * or the pool's own; none of them is held in a hook. Functions marked
 * "locked" want staged.lock held.
 */
#ifndef UPLOADFS_FS_STAGE_STAGE_IMPL_H
#define UPLOADFS_FS_STAGE_STAGE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/work/extents.h"
#include "fs/work/pool.h"
#include "fs/state/files.h"
#include "fs/stage/area.h"

#define STAGED_ID_LEN 16    /* hex digits */
#define STAGED_NAME_SIZE 32 /* ID with an ending, and NUL */
#define STAGED_SNAPSHOTS (STAGED_SIZE_MAX / POOL_SNAPSHOT)

struct staging {
	int dirfd; /* locked with flock() */
	uint64_t part_size, size_max, reserve;
	struct pool *pool;
	struct statedb *db;
	struct hash_job unlinking;

	pthread_mutex_t lock;  /* of what follows */
	struct pool *disk;     /* or NULL: data is unlinked at once */
	struct doomed *doomed; /* data to unlink once the commits up to now are durable */
	uint64_t used;	       /* bytes of all staged files */
	unsigned files;
	uint64_t room;	   /* bytes that may still be written before the disk is asked again */
	uint64_t asked_ms; /* when it was asked last, clock_mono_ms() */
};

/*
 * MD5 state. pos bytes are in it. While busy a worker owns cur and reads
 * [pos, busy_end); what is touched meanwhile lowers dirty_from.
 * cur NULL: to be made anew from the snapshot at pos. snaps[i] is the state
 * after i * POOL_SNAPSHOT bytes, for i * POOL_SNAPSHOT <= pos, or NULL.
 */
struct staged_hash {
	struct hash_job job;
	bool queued; /* with the pool, or running */
	bool busy;
	bool told; /* on_digest was called for this seal */
	int err;   /* why hashing stopped; 0 again with the next change or seal */
	uint64_t pos, busy_end, dirty_from;
	uint64_t wasted; /* bytes hashed in vain so far */
	struct digest *cur;
	struct digest **snaps; /* STAGED_SNAPSHOTS of them, or NULL */
};

/* See staged_watch(). Offsets in bytes of the file. */
struct staged_watch {
	uint32_t id; /* 0: none yet */
	uint64_t start, end, step;
	uint64_t told; /* [start, told) may have been read */
	uint64_t at;   /* where the reader waits; UINT64_MAX: it does not */
	bool called;   /* on_fill was, for this at */
	bool torn, whole;
};

enum staged_fate { STAGED_DISCARD, STAGED_KEEP, STAGED_GIVEN };

struct staged {
	struct staging *sg;
	char id[STAGED_ID_LEN + 1];
	int fd;
	atomic_uint refs;

	pthread_mutex_t record_lock; /* one save at a time; also around give */
	bool has_row;		     /* under it */
	bool placed; /* staged_rename() wrote its name: saves leave that alone; record_lock */
	atomic_uint_fast64_t saved; /* number of the commit that wrote the row last; 0: none */

	atomic_bool dir_synced; /* the name of the data survives a power cut */

	pthread_mutex_t lock; /* of all that follows */
	pthread_cond_t hooks_idle;
	enum staged_fate fate; /* changed under both locks */
	bool removed;	       /* the same; the names are gone from the disk */
	uint64_t size;
	uint64_t charged; /* bytes taken from the area: size, or more while writes are under way */
	struct extents written;
	unsigned writers; /* begun and not ended */
	bool sealed;
	bool unsure;	    /* size and disk may differ: look when the last writer ends */
	uint32_t *versions; /* by part index; beyond: 0 */
	uint32_t version_count;
	struct staged_hash hash;
	struct staged_watch watch;
	struct staged_hooks hooks;
	unsigned hooks_running;
};

/* area.c: "ID.data" */
#define STAGED_DATA ".data"
void staging_name(char ret[STAGED_NAME_SIZE], const char *id, const char *ending);
bool staging_id_valid(const char *id);
/*
 * Takes growth bytes from the area, and sees that the disk has room for fresh
 * bytes that are about to be written. 0 or -ENOSPC (then nothing is taken).
 */
int staging_charge(struct staging *sg, uint64_t growth, uint64_t fresh);
/* Counts bytes that are there already, even past the maximum. */
void staging_adopt(struct staging *sg, uint64_t bytes);
void staging_release(struct staging *sg, uint64_t bytes);
void staging_count(struct staging *sg, int files); /* +1 or -1 */
/*
 * Unlinks ID.data once all commits up to now are durable, on a disk worker
 * where there is one. files_doom() was committed for it.
 */
void staging_doom(struct staging *sg, const char *id);

/* hooks.c; call it locked: it drops the lock and takes it again while the hook runs. */
enum staged_hook { HOOK_FILL, HOOK_QUIET, HOOK_DIGEST };
void staged_call_hook(struct staged *st, enum staged_hook which);

/* Locked: sealed and no write under way, so that size and bytes are final. */
static inline bool staged_final(const struct staged *st)
{
	return st->sealed && !st->writers;
}

/* version.c; locked. reserve: room for the versions of [0, end); 0 or -ENOMEM */
int staged_reserve_versions(struct staged *st, uint64_t end);
uint32_t staged_version_locked(const struct staged *st, uint64_t start, uint64_t end);

/* follow.c; locked */
void staged_watch_touch(struct staged *st, uint64_t start, uint64_t end); /* content changed */
bool staged_watch_due(struct staged *st); /* on_fill is to be called for it; says so once */

/* digest.c */
void staged_hash_init(struct staged *st);
void staged_hash_release(struct staged *st); /* not locked; waits for the worker */
/* Locked: bytes from off on are no longer what was hashed. */
void staged_hash_touch(struct staged *st, uint64_t off);
void staged_hash_sealed(struct staged *st); /* locked: a fresh seal */
/* Locked: queues the job if there is enough to hash. */
void staged_hash_wake(struct staged *st);

#endif
