/*
 * staged_side: the local side of a file.
 */
#ifndef UPLOADFS_FS_VFS_STAGED_SIDE_H
#define UPLOADFS_FS_VFS_STAGED_SIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vfs_caller;
struct handle;
struct inode;
struct publish;
struct record;
struct staged;
struct vfs;

#define PREDICT_TRIES 6

/*
 * A rename that needs a new File: neither entry is touched until that File exists. Under vfs.lock;
 * owned by the rename, which outlives the publication's end.
 */
struct rename_intent {
	uint64_t dir;	  /* inode number of the new directory */
	const char *name; /* in it */
	bool noreplace;
	bool done;	/* the name has moved */
	char **victims; /* Files at the target that the new File supersedes */
	size_t victim_count;
};

/* The local side of a file: its staged bytes and their publication. Under vfs.lock. */
struct staged_side {
	struct staged_side *next, **pprev; /* all of them */
	struct staged *st;		   /* referenced */
	struct publish *pub;		   /* referenced */
	unsigned writers;		   /* handles open for writing */
	bool dirty;			   /* written since the last close that published */
	unsigned seals; /* how often it was closed: tells whether one came in between */
	bool pristine;	/* the File's content, and nobody has changed it yet */
	bool touched;	/* made or cut to nothing, and not closed since: perhaps empty */
	bool killed;	/* a writer was killed: not to be published */
	unsigned kills; /* how often; see struct handle */
	/* negative errno of a write that failed and was not made good; or 0 */
	int write_err;
	uint64_t write_err_at; /* where, in bytes */
	bool abort_reported;   /* a close had EIO because a writer was killed */
	bool dropped;	       /* removed: nothing is published any more */
	unsigned predict_tries;
	uint64_t predict_next;	 /* look again once so many bytes are there */
	uint64_t look;		 /* ticket of the last look, which alone may still answer */
	uint64_t predicted;	 /* 0: no prediction stands */
	uint64_t declared;	 /* by the xattr */
	char **superseded_files; /* Files of entries it was renamed onto: go with it, or before */
	size_t superseded_count;
	bool has_readers;	      /* its bytes were still read when it was taken out */
	struct rename_intent *intent; /* published under that name; NULL: under its own */
};

/*
 * Makes one for i from st, whose reference is consumed; r: its record when it
 * was left by an earlier daemon, else NULL. Under lock. The File behind i, if
 * any, will be superseded.
 */
int side_make(struct vfs *s, struct inode *i, struct staged *st, const struct record *r);
/* What side_take() took out has to be given to side_release() without the lock. */
struct staged_side *side_take(struct vfs *s, struct inode *i);
void side_release(struct vfs *s, struct staged_side *l);
/* Under lock: if nothing needs the local side any more, takes it out and hands it to the cache. */
struct staged_side *side_settle(struct vfs *s, struct inode *i);
/* Closed: seals and publishes. Under lock. */
void side_seal(struct vfs *s, struct inode *i);
/*
 * Under lock: i, which has a local side, was moved, or an intent of it began or ended: commits its
 * new name, and tells its publication. 0 or negative errno.
 */
int side_renamed(struct vfs *s, struct inode *i);
/* Under lock: tells its publication its name, which is committed. 0 or negative errno. */
int side_told(struct vfs *s, struct inode *i);
/*
 * As side_renamed(), in one transaction with the removal of victim (or NULL), in whose place it
 * comes, and with the Files that stood there; those are still to be noted by side_supersede().
 */
int side_moved(struct vfs *s, struct inode *i, struct inode *victim);
/* Under lock, the staged file may be written: 0, or -EBUSY while it is being published. */
int side_reopen(struct staged_side *l);
/* Under lock: something was changed, or is about to be. */
void side_changed(struct staged_side *l);
/* Under lock: one more File to go once this one is there, or when it is removed. 0 or -ENOMEM. */
int side_supersede(struct staged_side *l, const char *file_id);
/* Removes the staged file, cancels its publication. Under lock. */
void side_drop(struct staged_side *l);
void side_predict(struct vfs *s, struct handle *h, uint64_t start, uint64_t end,
		  const struct vfs_caller *who);
/* The threads that look at what writers have open. 0 or -ENOMEM. */
int side_start_scout(struct vfs *s);
void side_declare(struct vfs *s, struct staged_side *l, uint64_t size); /* under lock */

#endif
