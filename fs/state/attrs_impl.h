/*
 * attrs_impl: shared by attrs.c (Files) and dirs.c (directories). Private to these two.
 */
#ifndef UPLOADFS_FS_STATE_ATTRS_IMPL_H
#define UPLOADFS_FS_STATE_ATTRS_IMPL_H

#include "fs/state/attrs.h"
#include "fs/state/store.h"

struct statedb *attrs_store(struct attrs *a);
/* Zero the time of a set without one, so that equal sets compare equal. */
void attrs_clean(struct attr_set *set);
/* Read six columns starting at `column`: mode, uid, gid, has_mtime, mtime_s, mtime_ns. */
void attrs_from_row(const struct statedb_row *row, int column, struct attr_set *ret);

#endif
