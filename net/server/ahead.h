/*
 * ahead: the MD5 of an Upload, computed while its Parts still arrive. Only complete decides the
 * order of the Parts. A thread guesses the order, hashes finished Parts in it, and keeps the digest
 * after each. complete uses the longest common beginning of guess and truth and hashes the rest: a
 * wrong guess costs time, never correctness. The guess: by the filename of the `data` field (the
 * names of split(1) sort, and so do names with a zero-padded offset), then by arrival. Parts that
 * arrive at the same time under one name may have any order: hashing stops there, since a wrong
 * guess would take the processor from the senders.
 */
#ifndef UPLOADFS_NET_SERVER_AHEAD_H
#define UPLOADFS_NET_SERVER_AHEAD_H

#include "net/base/digest.h"
#include "net/server/state.h"

/* Start the thread; end it, after state_stop(). 0 or negative errno. */
int ahead_start(struct state *st);
void ahead_join(struct state *st);

/*
 * Compute the MD5 of f, whose Parts belong to up. The caller has marked up busy and does not hold
 * the lock. Blocks while reading. 0, -ECANCELED (stopping), or negative errno.
 */
int ahead_digest(struct state *st, struct upload *up, const struct file *f,
		 char ret_hex[DIGEST_HEX_SIZE]);

#endif
