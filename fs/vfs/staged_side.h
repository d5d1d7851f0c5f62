/*
 * staged_side: the local side of a file.
 */
#ifndef UPLOADFS_FS_VFS_STAGED_SIDE_H
#define UPLOADFS_FS_VFS_STAGED_SIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/publish/publisher.h"
#include "fs/work/lost.h"
#include "net/base/digest.h"

struct vfs_caller;
struct handle;
struct inode;
struct publish;
struct record;
struct rename_intent;
struct staged;
struct vfs;

#define PREDICT_TRIES 6
#define PREDICT_SHORT (64ULL << 10) /* bytes */

/* The local side of a file: its staged bytes and their publication. Under vfs.lock. */
struct staged_side {
	struct staged_side *next, **pprev; /* list vfs.sides */
	struct staged *st;		   /* referenced */
	struct publish *pub;		   /* referenced */
	unsigned writers;		   /* handles open for writing */
	bool dirty;			   /* written since the last publishing close */
	unsigned seals;			   /* count of closes; a change shows a close in between */
	bool pristine;			   /* equals the File's content: unchanged so far */
	bool touched;	     /* created or cut to nothing, not closed since: perhaps empty */
	bool killed;	     /* a writer was killed: do not publish */
	bool recovered;	     /* as an earlier daemon left it */
	bool moved;	     /* renamed: the File that it would replace has another name */
	unsigned kills;	     /* count of kills; see struct handle */
	struct lost lost;    /* bytes whose write failed: nothing is published without them */
	bool abort_reported; /* a close returned EIO because a writer was killed */
	bool expiry_set;     /* the lifetime was set by an attribute */
	uint8_t check;	     /* enum line_check (check.h): what its lines have to be */
	bool check_set;	     /* by an attribute */
	bool dropped;	     /* removed: publish nothing any more */
	unsigned predict_tries;
	uint64_t predict_next;	 /* size in bytes at which to look again */
	uint64_t look;		 /* ticket of the last look; answers to older ones are ignored */
	uint64_t predicted;	 /* predicted size in bytes; 0: none */
	uint64_t declared;	 /* size declared by the xattr; 0: none */
	char **superseded_files; /* Files of overwritten entries: deleted with it, or before */
	size_t superseded_count;
	bool has_readers;	      /* handles still read its bytes at side_take() */
	char md5[DIGEST_HEX_SIZE];    /* by the record of an earlier daemon; "": unknown */
	struct rename_intent *intent; /* publish under the intent's name; NULL: under its own */
};

/*
 * Make i's local side from st; consumes the reference to st. r: the record an earlier daemon left,
 * or NULL. The publication will supersede i's File, if any. Under lock.
 */
int side_make(struct vfs *s, struct inode *i, struct staged *st, const struct record *r);
/* Take the local side out of i, under lock. Give it to side_release() without the lock. */
struct staged_side *side_take(struct vfs *s, struct inode *i);
/* May block for a sync of the store, so that the space of a removed file is free at once. */
void side_release(struct vfs *s, struct staged_side *l);
/*
 * Take the local side out and hand its bytes to the cache, if nothing needs the side any more.
 * Under lock. Returns an argument for side_release(), or NULL.
 */
struct staged_side *side_settle(struct vfs *s, struct inode *i);
/* End the writing: seal the staged file and publish it. Under lock. */
void side_seal(struct vfs *s, struct inode *i);
/* The same; publish_wait() or publish_wake() has to follow. */
void side_seal_first(struct vfs *s, struct inode *i);
/* Make the staged file writable again. 0, or -EBUSY while it is being published. Under lock. */
int side_reopen(struct staged_side *l);
/* A close under a temporary name waits until then. */
enum publish_until side_held_until(const struct vfs *s);
/* Note a change, done or about to be done. Under lock. */
void side_changed(struct staged_side *l);
/*
 * Commit that l is removed, before an unlink is answered. Under lock. 0 or a negative errno: the
 * entry has to stay. A full disk is no error: removing is what makes room.
 */
int side_note_removed(struct staged_side *l);
/* Remove the staged file and cancel its publication. Under lock. */
void side_drop(struct staged_side *l);
void side_predict(struct vfs *s, struct handle *h, uint64_t start, uint64_t end,
		  const struct vfs_caller *who);
/* Start the threads that inspect what writers have open. 0 or -ENOMEM. */
int side_start_scout(struct vfs *s);
void side_declare(struct vfs *s, struct staged_side *l, uint64_t size); /* under lock */

#endif
