/*
 * witness: whether a key belongs to the account of another key, told by the Files it can see.
 */
#ifndef UPLOADFS_FS_DAEMON_WITNESS_H
#define UPLOADFS_FS_DAEMON_WITNESS_H

#include <stddef.h>

struct opts;
struct statedb;

enum witness_verdict {
	WITNESS_SAME,  /* the key sees a File of that account */
	WITNESS_OTHER, /* it sees none of them */
	WITNESS_NONE,  /* no File of that account is known */
	WITNESS_SILENT /* the service can't be asked, or refuses the key */
};

/*
 * Ask the service for Files of the store, with o's key; at most eight small requests. ret_text, of
 * size bytes, has a File's id or, with WITNESS_SILENT, the reason. Blocks on the service, two tries
 * a request at most. Negative errno if the store can't be read.
 */
int witness_ask(const struct opts *o, struct statedb *db, char *ret_text, size_t size,
		enum witness_verdict *ret);

#endif
