/*
 * known: the bytes of Files that this host made, by their MD5. Table known: one row a File, written
 * once the service has confirmed it. A File never changes, so a row stays right as long as the File
 * exists; whether it does is the service's to say. Rows of Files that others removed go with their
 * age: KNOWN_MAX rows stay.
 *
 * Functions take the lock of the store. Threads: any. Blocks as statedb_commit() does; no row has
 * to be durable.
 */
#ifndef UPLOADFS_FS_STATE_KNOWN_H
#define UPLOADFS_FS_STATE_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/base/digest.h"

struct statedb;

#define KNOWN_MAX 100000

struct known_file {
	char *filename, *purpose, *mime_type; /* as sent; not NULL */
	uint64_t expires_after;		      /* seconds, as asked for; 0: none */
	uint64_t bytes;
	char md5[DIGEST_HEX_SIZE]; /* of all bytes */
	uint64_t step;
	/* MD5 of the first (i + 1) * step bytes, each DIGEST_SIZE bytes */
	unsigned char *prefixes;
	size_t prefix_count;
};

/* Free all that *k points to, and zero it. */
void known_release(struct known_file *k);

/* Make the missing table. Call once, before all else. */
int known_define(struct statedb *db);
/*
 * Set the row of a File with the next transaction (statedb_later()). maker: the id of the staged
 * file that became it. 0 or -ENOMEM.
 */
int known_put_later(struct statedb *db, const char *file_id, const char *maker,
		    const struct known_file *k);
/*
 * Note the maker of a File of uncertain bytes with the next transaction, unless it has a row. 0 or
 * -ENOMEM.
 */
int known_claim_later(struct statedb *db, const char *file_id, const char *maker);
/* The File was deleted. 0 or negative errno. */
int known_drop(struct statedb *db, const char *file_id);
/* Read a row; the caller releases *ret. -ENOENT; -EBADMSG: no valid bytes; -ENOMEM. */
int known_get(struct statedb *db, const char *file_id, struct known_file *ret);
/* True if another staged file than that one is known to have become the File. */
bool known_as_of_another(struct statedb *db, const char *file_id, const char *maker);

#endif
