/*
 * file_state: what the service tells of the processing of a File: from listings, and asked for.
 */
#ifndef UPLOADFS_FS_VFS_FILE_STATE_H
#define UPLOADFS_FS_VFS_FILE_STATE_H

#include <stdbool.h>
#include <stdint.h>

struct api_file;
struct inode;
struct vfs;

/* A listing shows f, the File behind i. Under lock. */
void vfs_note_state(struct vfs *s, struct inode *i, const struct api_file *f);
/*
 * Ask for the state of the File behind ino, if the last answer is older than a second. True: done
 * is called with 0 or a negative errno, perhaps before this returns; what is known stays after an
 * error, unless the File is gone. False: there is nothing to ask. Takes the lock.
 */
bool vfs_ask_state(struct vfs *s, uint64_t ino, void (*done)(void *arg, int err), void *arg);

#endif
