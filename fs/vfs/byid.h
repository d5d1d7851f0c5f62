/*
 * byid: names in .by-id.
 */
#ifndef UPLOADFS_FS_VFS_BYID_H
#define UPLOADFS_FS_VFS_BYID_H

#include "fs/vfs/vfs.h"

/* True when it is a name of .by-id: cb has been or will be called. */
bool vfs_lookup_special(struct vfs *s, uint64_t parent, const char *name, vfs_entry_cb *cb,
			void *arg);

#endif
