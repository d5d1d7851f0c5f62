/*
 * vfs_impl: what the vfs*.c files share. Nobody else includes it.
 */
#ifndef UPLOADFS_FS_VFS_VFS_IMPL_H
#define UPLOADFS_FS_VFS_VFS_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/tree/inode.h"
#include "fs/remote/listing.h"
#include "fs/tree/names.h"
#include "fs/publish/publisher.h"
#include "fs/stage/area.h"
#include "fs/vfs/vfs.h"

#define LOOKUP_AGAIN_MS 1000 /* a name that is not listed is asked for again after this time */
/* Half a second longer, in which who comes has it asked for and does not wait: see listing.h. */
#define LOOKUP_BELIEVED_MS (LOOKUP_AGAIN_MS + 500)
/* a new File may be missing from listings for a while (api.md, U) */
#define PUBLISH_GRACE_MS 60000
#define PREDICT_TRIES 6
#define ASYNC_MAX 1024 /* files under way at once before a close waits in spite of close=async */
#define GONE_BUCKETS 256

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
	uint64_t predicted;	 /* 0: no prediction stands */
	uint64_t declared;	 /* by the xattr */
	char **superseded_files; /* Files of entries it was renamed onto: go with it, or before */
	size_t superseded_count;
	bool has_readers;	      /* when it was taken out: its bytes are still read */
	struct rename_intent *intent; /* published under that name; NULL: under its own */
};

struct handle {
	struct vfs *s;
	struct handle *next, **pprev; /* all handles, under vfs.lock */
	struct inode *inode;	      /* referenced (nref, nopen) */
	int flags;		      /* open(2)'s */
	bool may_write;
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

struct vfs {
	struct vfs_config cfg;
	char *purpose; /* owner of cfg.purpose */
	dev_t dev;
	atomic_bool closing; /* no more writers */
	pthread_mutex_t lock;
	struct inode *control[VFS_CONTROLS]; /* NULL: none; set at the start */
	/* under lock */
	struct inode_table *table;
	struct listing *listing;
	struct handle *handles;
	struct staged_side *sides;
	struct dir *dirs;		 /* open directories */
	struct staging_in *stagings;	 /* copyup.c: content on its way */
	struct gone *gone[GONE_BUCKETS]; /* gone.c */
	size_t gone_count;
	bool superseded_noted; /* those of each local side are in gone, for one listing */
};

/* node.c */
void vfs_fill(struct vfs *s, struct inode *i, struct vfs_entry *ret); /* under lock */
bool vfs_is_purpose_writable(struct vfs *s, const struct inode *dir); /* under lock */
/*
 * What stands between a name and an entry in dir: 0 or -EPERM, -EINVAL, -ENAMETOOLONG. Under
 * lock.
 */
int vfs_check_new(struct vfs *s, const struct inode *dir, const char *name);

/* byid.c: true when it is a name of .by-id: cb has been or will be called */
bool vfs_lookup_special(struct vfs *s, uint64_t parent, const char *name, vfs_entry_cb *cb,
			void *arg);

/* control.c */
int vfs_make_control(struct vfs *s); /* at the start */
/* True when it is a file of .uploadfs: cb has been called. */
bool vfs_open_control(struct vfs *s, uint64_t ino, int flags, vfs_open_cb *cb, void *arg);
/* fd, size: a handle's text */
void vfs_read_control(int fd, uint64_t size, uint64_t off, size_t len, vfs_read_cb *cb, void *arg);

/* attrs_kept.c; under lock */
void vfs_recall(struct vfs *s, struct inode *i);   /* what was set on its File */
void vfs_remember(struct vfs *s, struct inode *i); /* a File's attributes, or a directory */
void vfs_forget_file(struct vfs *s, const char *file_id);
void vfs_forget_dir(struct vfs *s, struct inode *dir); /* and those below it */
void vfs_remember_tree(struct vfs *s, struct inode *dir);
/* From now on dir stays when it becomes empty, also over a remount. */
void vfs_keep_dir(struct vfs *s, struct inode *dir);
void vfs_load_dirs(struct vfs *s);

/*
 * purpose.c: the directory purpose/path, made as needed; NULL: no such purpose here, or no
 * memory
 */
struct inode *vfs_dir_for_path(struct vfs *s, const char *purpose, const char *path);

/* purpose.c; under lock */
/* A directory as the mount's options make it; NULL: out of memory. */
struct inode *vfs_make_dir(struct vfs *s, struct inode *parent, const char *name);
/* The purpose's directory, made as needed; NULL: not in this mount, or no memory. */
struct inode *vfs_purpose_dir(struct vfs *s, const char *purpose);
/*
 * The directory of path below the purpose, made as needed; cuts path at each '/'. *ret_name: its
 * last component. NULL: no such purpose here, a name that can't be created, or no memory.
 */
struct inode *vfs_walk(struct vfs *s, const char *purpose, char *path, char **ret_name);

/* listed.c */
void vfs_apply_listing(void *arg, const struct listing_files *files); /* takes the lock */
/*
 * Under lock: i is about to be opened for writing. If it had to leave its name to
 * a newer File, and nobody has asked for it by another name since, then whoever
 * opens it knows it by the former one and means that.
 */
void vfs_take_name_back(struct vfs *s, struct inode *i);
bool vfs_is_listed(void *arg, const char *file_id); /* takes the lock */
/* purpose as a string that lives as long as the process; NULL: no memory, or too many of them. */
const char *vfs_purpose_word(const char *purpose);
int vfs_make_purposes(struct vfs *s);
/*
 * A File that was deleted or superseded here: a listing that was on its way at
 * that time must not bring it back. Under lock; without memory it may.
 */
void vfs_note_gone(struct vfs *s, const char *file_id);
bool vfs_is_gone(struct vfs *s, const char *file_id); /* noted lately; under lock */
/*
 * Under lock: an entry of its own that a listing gave that File, which the service
 * made for a file of ours, or deleted for one, before we heard of it. Not one
 * with a local side.
 */
void vfs_forget_listed(struct vfs *s, const char *file_id);
void vfs_forget_gone(struct vfs *s);			 /* all of them */
void vfs_forget_gone_until(struct vfs *s, uint64_t now); /* those whose time is over; under lock */
/* True if file_id is overwritten here and to be deleted. Under lock, while a listing is applied. */
bool vfs_is_superseded(struct vfs *s, const char *file_id);

/* staged_side.c: the local side */
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
 * Under lock: i, which has a local side, is somewhere else now, or has or had an intent. 0 or
 * negative errno.
 */
int side_renamed(struct vfs *s, struct inode *i);
/* Under lock, the staged file may be written: 0, or -EBUSY while it is being published. */
int side_reopen(struct staged_side *l);
/* Under lock: something was changed, or is about to be. */
void side_changed(struct staged_side *l);
/* Under lock: one more File to go once this one is there, or when it is removed. 0 or -ENOMEM. */
int side_supersede(struct staged_side *l, const char *file_id);
/* Removes the staged file, cancels its publication. Under lock. */
void side_drop(struct staged_side *l);
void side_predict(struct vfs *s, struct handle *h, uint64_t start, uint64_t end, pid_t tid);
void side_declare(struct vfs *s, struct staged_side *l, uint64_t size); /* under lock */

/* copyup.c: content of a File as a staged file */
/*
 * Makes i's local side from its File's content , unless it
 * has one by then; calls cb. from: what a handle on i reads, or NULL: used when
 * the File was removed since; -ENOENT where the content is not here. The caller
 * holds a reference to i (nref) until cb. Takes vfs.lock itself; cb runs
 * without it, on any thread.
 */
void vfs_stage_content(struct vfs *s, struct inode *i, struct fetch *from, vfs_done_cb *cb,
		       void *arg);
/* Ends what is left of them with -EINTR; after the disk workers have ended. */
void vfs_end_stagings(struct vfs *s);

/* wait.c */
struct waiting {
	struct publish_wait w; /* first: what vfs_wait_cancel() cancels */
	struct vfs *s;
	bool cancelled; /* before it waited; under vfs.lock */
	vfs_done_cb *cb;
	void *arg;
};
/* NULL: out of memory. */
struct waiting *waiting_new(enum publish_until until, vfs_done_cb *cb, void *arg);

/* write.c */
/*
 * Under lock: 0 when h may write to its local side now, but for the seal; a
 * killed writer's file that was opened since is taken over. -EBADF, -EBUSY.
 * *ret_revived: it was, for handle_not_written().
 */
int handle_writable(struct handle *h, bool *ret_revived);
/* Under lock: nothing came of what h was to do: revived, the file is a killed writer's again. */
void handle_not_written(struct handle *h, bool revived);

/* unlink.c. Under lock: i goes from its directory, which stays even when it is empty now. */
struct staged_side *vfs_detach(struct vfs *s, struct inode *i);

/* gone.c: deletes a File nobody asked for; what comes of it is logged. Not under lock. */
void vfs_delete_unwanted(struct vfs *s, const char *file_id);

/* handle.c */
bool handle_wants_write(int flags); /* open(2) flags that write or truncate */
/* Under lock; counts itself in the inode (nref, nopen, local->writers). NULL: out of memory. */
struct handle *handle_new(struct vfs *s, struct inode *i, int flags,
			  struct writer *w /* consumed */);
/* Under lock: its writer's death leaves half a file: it wrote, or cut a File and wrote nothing. */
bool handle_may_spoil(const struct handle *h);
void handle_free(struct handle *h); /* takes the lock itself */

/*
 * One line in the log: which file, what failed, why: text, or with NULL what the errno err means.
 * Takes vfs.lock. i is referenced by the caller.
 */
void vfs_log_failed(struct vfs *s, const struct inode *i, const char *what, int err,
		    const char *text);

#endif
