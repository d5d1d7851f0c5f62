/*
 * ahead: the MD5 of an Upload, computed while its Parts still arrive.
 *
 * The order of the Parts is decided only at complete. A thread guesses it, and
 * hashes finished Parts in that order, keeping the digest after each. At complete
 * the longest common beginning of guess and truth is used, and the rest is hashed
 * then: a wrong guess costs time, never correctness.
 *
 * The guess: by the filename of the `data` field (what split(1) makes sorts, and
 * so do names with a zero-padded offset), then by arrival. Parts that arrive at the
 * same time under one name could be in any order; nothing is hashed from there on,
 * as hashing in vain would take the processor from whoever sends.
 */
#ifndef UPLOADFS_NET_SERVER_AHEAD_H
#define UPLOADFS_NET_SERVER_AHEAD_H

#include "net/base/digest.h"
#include "net/server/state.h"

/* Start and end (after state_stop()) the thread. Negative errno. */
int ahead_start(struct state *st);
void ahead_join(struct state *st);

/*
 * Computes the MD5 of f, whose Parts belong to up. The caller has marked up busy and does not hold
 * the lock. Blocks while reading. 0, -ECANCELED (stopping), or negative errno.
 */
int ahead_digest(struct state *st, struct upload *up, const struct file *f,
		 char ret_hex[DIGEST_HEX_SIZE]);

#endif
