/*
 * vfs_impl: the state that the files of fs/vfs share. Private to fs/vfs.
 */
#ifndef UPLOADFS_FS_VFS_VFS_IMPL_H
#define UPLOADFS_FS_VFS_VFS_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/vfs/vfs.h"

struct dir;
struct gone;
struct inode;
struct inode_table;
struct listing;
struct rename_intent;
struct removing;
struct renaming;
struct staged_side;
struct staging_in;

#define GONE_BUCKETS 256

struct vfs {
	struct vfs_config cfg;
	char *purpose; /* owns the string of cfg.purpose */
	dev_t dev;
	atomic_bool closing; /* refuse new writers */
	pthread_mutex_t lock;
	struct scout *scout; /* inspects what writers have open; NULL after vfs_stop() */
	struct inode *control[VFS_CONTROLS]; /* set once at the start; NULL: no .uploadfs */
	/* under lock */
	struct inode_table *table;
	bool has_unusable; /* the service told of a File with status error */
	struct listing *listing;
	uint64_t looks; /* tickets issued to the scout */
	struct handle *handles;
	struct staged_side *sides;
	struct rename_intent *intents;	 /* open ones */
	struct renaming *renamings;	 /* rename.c: under way */
	struct removing *removings;	 /* unlink.c: that wait for the service */
	struct dir *dirs;		 /* open directories */
	struct staging_in *stagings;	 /* copyup.c: copies under way */
	struct gone *gone[GONE_BUCKETS]; /* gone.c */
	size_t gone_count;
	unsigned flat, flat_told; /* Files shown without their directories, in this listing */
	bool superseded_noted; /* gone holds each local side's superseded Files, for one listing */
};

#endif
