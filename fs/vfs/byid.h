/*
 * byid: names in .by-id.
 */
#ifndef UPLOADFS_FS_VFS_BYID_H
#define UPLOADFS_FS_VFS_BYID_H

#include "fs/vfs/vfs.h"

/* Look up .by-id or a name in it. True: cb has run or will run. False: not such a name. */
bool vfs_lookup_special(struct vfs *s, uint64_t parent, const char *name, vfs_entry_cb *cb,
			void *arg);

#endif
