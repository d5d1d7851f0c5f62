/*
 * digest: the MD5 of a staged file, hashed by the pool while it is written. staged.lock is held
 * unless said otherwise.
 */
#ifndef UPLOADFS_FS_STAGE_DIGEST_H
#define UPLOADFS_FS_STAGE_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/stage/limits.h"
#include "fs/work/lanes.h"
#include "net/base/digest.h"

#define HASH_SNAPSHOT (16ULL << 20) /* bytes between two snapshots of the state of MD5 */
#define STAGED_SNAPSHOTS (STAGED_SIZE_MAX / HASH_SNAPSHOT)

struct digest;
struct staged;

/*
 * pos bytes are in cur. While busy a worker owns cur and reads [pos, busy_end); a change meanwhile
 * lowers dirty_from. cur NULL: to be made anew from the snapshot at pos. snaps[i] is the state
 * after i * HASH_SNAPSHOT bytes, for i * HASH_SNAPSHOT <= pos, or NULL.
 */
struct staged_hash {
	struct lane_job job;
	/* Whether it is with the pool, or running. LATER: it waits for other files. */
	enum hash_need { HASH_NO, HASH_LATER, HASH_NOW } queued;
	bool busy;
	bool checks; /* the worker checks the bytes, too */
	int fd;	     /* that the worker reads while busy */
	bool told;   /* on_digest was called for this seal */
	int err;     /* why hashing stopped; 0 again with the next change or seal */
	uint64_t pos, busy_end, dirty_from;
	uint64_t wasted; /* bytes hashed in vain so far */
	struct digest *cur;
	struct digest **snaps; /* STAGED_SNAPSHOTS of them, or NULL */
};

/* Before st is shared; no lock. */
void staged_hash_init(struct staged *st);
/* At the last unref: waits for the worker; no lock. */
void staged_hash_release(struct staged *st);
/* Bytes from off on changed. */
void staged_hash_touch(struct staged *st, uint64_t off);
/* The file was sealed: on_digest is due again. */
void staged_hash_sealed(struct staged *st);
/* Queue the job if there is enough to hash. */
void staged_hash_wake(struct staged *st);
/* staged_md5() under the lock. */
int staged_hash_hex(const struct staged *st, char ret_hex[DIGEST_HEX_SIZE]);

#endif
