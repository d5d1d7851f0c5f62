/*
 * handle: an open file.
 */
#ifndef UPLOADFS_FS_VFS_HANDLE_H
#define UPLOADFS_FS_VFS_HANDLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct fetch;
struct inode;
struct staged;
struct vfs;
struct writer;

struct handle {
	struct vfs *s;
	struct handle *next, **pprev; /* all handles, under vfs.lock */
	struct inode *inode;	      /* referenced (nref, nopen) */
	int flags;		      /* open(2)'s */
	bool may_write;
	bool cut; /* its open took away bytes: of a File, or of other writers */
	bool direct_io;
	bool keep_cache;
	/* under vfs.lock */
	bool wrote; /* through this handle, since the last publishing close */
	/* the local side's when it was opened: a later writer starts anew */
	unsigned kills;
	/* the last close that published nothing came from a killed process */
	bool closer_killed;
	bool writer_killed;  /* one that had written was killed, whoever closes after it */
	uint64_t last_owner; /* lock owner of the last write, 0: not told */
	pid_t last_tid;	     /* the thread that made it */
	pid_t last_pid;	     /* and its process, 0: not known */
	struct staged *st;   /* referenced; what it reads when there is no local side any more */
	struct fetch *fetch; /* or what it reads from the service */
	int text_fd;	     /* or a text of .uploadfs; -1: none */
	uint64_t text_size;
	struct writer *writer; /* NULL when it can't write */
};

bool handle_wants_write(int flags); /* open(2) flags that write or truncate */
/* Under lock; counts itself in the inode (nref, nopen, local->writers). NULL: out of memory. */
struct handle *handle_new(struct vfs *s, struct inode *i, int flags,
			  struct writer *w /* consumed */);
/* Under lock: its writer's death leaves half a file: it wrote, or cut and wrote nothing. */
bool handle_may_spoil(const struct handle *h);
void handle_free(struct handle *h); /* takes the lock itself */

#endif
