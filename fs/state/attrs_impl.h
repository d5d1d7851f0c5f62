/*
 * attrs_impl: what attrs.c (Files) and dirs.c (directories) share. Nobody else
 * includes it.
 */
#ifndef UPLOADFS_FS_STATE_ATTRS_IMPL_H
#define UPLOADFS_FS_STATE_ATTRS_IMPL_H

#include "fs/state/attrs.h"
#include "fs/state/store.h"

struct statedb *attrs_store(struct attrs *a);
/* Zeroes the time of a set without one, so that equal sets are equal. */
void attrs_clean(struct attr_set *set);
/* mode, uid, gid, has_mtime, mtime_s, mtime_ns: six columns from that one on. */
void attrs_from_row(const struct statedb_row *row, int column, struct attr_set *ret);

#endif
