/*
 * handle: an open file.
 */
#ifndef UPLOADFS_FS_VFS_HANDLE_H
#define UPLOADFS_FS_VFS_HANDLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/work/lost.h"

struct fetch;
struct inode;
struct staged;
struct vfs;
struct writer;

struct handle {
	struct vfs *s;
	struct handle *next, **pprev; /* all handles, under vfs.lock */
	struct inode *inode;	      /* referenced (nref, nopen) */
	int flags;		      /* flags of open(2) */
	bool may_write;
	bool cut; /* the open removed bytes: a File's or other writers' */
	bool direct_io;
	bool keep_cache;
	/* under vfs.lock */
	bool wrote; /* this handle wrote since the last publishing close */
	/* side->kills at the open; still equal: opened after the last kill */
	unsigned kills;
	/* the last close was by a killed process and published nothing */
	bool closer_killed;
	/* bytes whose write failed before there was a local side: see vfs_write_failed() */
	struct lost lost;
	bool outdated;	     /* the File's size changed since the open: its content is another */
	bool writer_killed;  /* a process that wrote here was killed, whoever closes later */
	uint64_t last_owner; /* lock owner of the last write; 0: unknown */
	pid_t last_tid;	     /* thread of the last write */
	pid_t last_pid;	     /* process of last_tid; 0: unknown */
	struct staged *st;   /* referenced; source of reads once the local side is gone */
	struct fetch *fetch; /* source of reads from the service; or NULL */
	int text_fd;	     /* a text of .uploadfs; -1: none */
	uint64_t text_size;
	struct writer *writer; /* NULL for a reader */
};

bool handle_wants_write(int flags); /* True if the open(2) flags write or truncate. */
/*
 * Make a handle and count it in the inode (nref, nopen, side->writers). Under lock. NULL: out of
 * memory.
 */
struct handle *handle_new(struct vfs *s, struct inode *i, int flags,
			  struct writer *w /* consumed */);
/* True if the writer's death leaves half a file: h wrote, or cut and wrote nothing. Under lock. */
bool handle_may_spoil(const struct handle *h);
/*
 * True if a writer of i, through another handle than but, was killed half-way; its release may
 * still be under way. Under lock.
 */
bool handle_has_killed(struct vfs *s, const struct inode *i, const struct handle *but);
void handle_free(struct handle *h); /* takes the lock */

#endif
