/*
 * control: the files of .uploadfs.
 */
#ifndef UPLOADFS_FS_VFS_CONTROL_H
#define UPLOADFS_FS_VFS_CONTROL_H

#include "fs/vfs/vfs.h"

int vfs_make_control(struct vfs *s); /* call once at the start; 0 or -ENOMEM */
/* Open a file of .uploadfs. True: cb has run. False: ino is another file. */
bool vfs_open_control(struct vfs *s, uint64_t ino, int flags, vfs_open_cb *cb, void *arg);
/* fd, size: the text of a handle */
void vfs_read_control(int fd, uint64_t size, uint64_t off, size_t len, vfs_read_cb *cb, void *arg);

#endif
