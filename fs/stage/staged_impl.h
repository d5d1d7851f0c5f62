/*
 * staged_impl: struct staged, for fs/stage only. Lock order: area_impl.h.
 */
#ifndef UPLOADFS_FS_STAGE_STAGED_IMPL_H
#define UPLOADFS_FS_STAGE_STAGED_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/stage/area_impl.h"
#include "fs/stage/check.h"
#include "fs/stage/digest.h"
#include "fs/stage/file.h"
#include "fs/stage/follow.h"
#include "fs/stage/prefix.h"
#include "fs/state/files.h"
#include "fs/work/extents.h"
#include "net/base/digest.h"

enum staged_fate { STAGED_DISCARD, STAGED_KEEP, STAGED_GIVEN };

struct staged {
	struct staging *sg;
	char id[DATA_ID_SIZE];
	int fd; /* -1: not open; changed under lock */
	atomic_uint refs;

	pthread_mutex_t record_lock; /* one save at a time; also around give */
	bool has_row;		     /* under it */
	struct files_lists lists;    /* of the row; under record_lock */
	bool placed;	  /* staged_rename() wrote its name: saves leave that alone; record_lock */
	bool takes_place; /* staged_intend(); record_lock */
	atomic_bool copy; /* see staged_mark_copy(); changed under record_lock */
	char *moved;	  /* see staged_moves(); allocated, or NULL; record_lock */
	bool firm; /* the row tells of closed bytes that are synced: it is believed; record_lock */
	atomic_uint_fast64_t saved; /* number of the commit that wrote the row last; 0: none */
	/* Number of the commit that has to be durable before bytes change; 0: none. */
	atomic_uint_fast64_t barrier;
	atomic_bool row_stale; /* the row tells of closed bytes, and no commit could change that */

	pthread_mutex_t sync_lock; /* one sync at a time: the kernel tells an error once */
	atomic_bool dir_synced;	   /* the name of the data survives a power cut */

	pthread_mutex_t lock; /* of all that follows */
	pthread_cond_t hooks_idle;
	enum staged_fate fate; /* changed under both locks */
	bool removed;	       /* the same; the names are gone from the disk */
	uint64_t size;
	uint64_t charged; /* bytes taken from the area: size, or more while writes are under way */
	struct extents written;
	unsigned writers; /* begun and not ended */
	unsigned syncs;	  /* under way */
	bool sealed;
	bool unsure;	  /* size and disk may differ: look when the last writer ends */
	uint64_t changes; /* count of changes of the bytes, from 1 */
	uint64_t synced;  /* changes when the bytes were synced last; 0: never */
	bool broken;	  /* a sync failed: the bytes in memory may not be those on disk */
	uint64_t sure_at; /* changes when sure_md5 was taken, before a sync failed; 0: never */
	char sure_md5[DIGEST_HEX_SIZE];
	bool spoiled;		     /* the bytes are not those of the row */
	char era[DATA_ERA_SIZE];     /* in which the bytes were written */
	struct hash_job back_job;    /* begins write-back of [back_from, back_to) */
	uint64_t back_from, back_to; /* written since */
	uint32_t *versions;	     /* by part index; beyond: 0 */
	uint32_t version_count;
	struct staged_hash hash;
	struct staged_prefix prefix;
	struct staged_lines check;
	struct staged_watch watch;
	struct staged_hooks hooks;
	unsigned hooks_running;
};

/* End the mark of staged_mark_copy(), before the bytes change. 0 or negative errno. */
int staged_disown(struct staged *st);

/* Under staged.lock: sealed and no write under way, so that size and bytes are final. */
static inline bool staged_final(const struct staged *st)
{
	return st->sealed && !st->writers;
}

/* Under staged.lock. */
static inline bool staged_is_synced(const struct staged *st)
{
	return st->synced == st->changes && !st->broken;
}

/* False once its row is another owner's or gone. Takes staged.lock. */
static inline bool staged_has_name(struct staged *st)
{
	bool ret;

	pthread_mutex_lock(&st->lock);
	ret = st->fate != STAGED_GIVEN && !st->removed;
	pthread_mutex_unlock(&st->lock);
	return ret;
}

/* Under staged.lock: [start, end) was written. Begin to write bytes back, once there are enough. */
void staged_write_back(struct staged *st, uint64_t start, uint64_t end);
/* At the last unref, no lock: waits for the worker. */
void staged_end_write_back(struct staged *st);

#endif
