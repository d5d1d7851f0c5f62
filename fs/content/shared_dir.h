/*
 * shared_dir: the files of a directory of content that hosts share.
 *
 * A File's content lies under one path component made of its id and its service, beside its MD5
 * as text and, while a mount downloads it, a lock. Nothing found there is trusted: only a regular
 * file counts, never behind a link, with exactly the File's size, and with the MD5 where one is
 * known. Content is replaced by a rename of a synced file.
 *
 * Any thread. Every function blocks as long as the file system does, perhaps for ever.
 */
#ifndef UPLOADFS_FS_CONTENT_SHARED_DIR_H
#define UPLOADFS_FS_CONTENT_SHARED_DIR_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/base/digest.h"

#define SHARED_TOKEN_SIZE 17 /* 16 hex digits and NUL: who holds a lock */

struct shared_name {
	char content[NAME_MAX + 1], sum[NAME_MAX + 1], lock[NAME_MAX + 1];
};

/* False: the id is too long for a name; its File is not shared. Never blocks. */
bool shared_dir_name(const char *service, const char *file_id, struct shared_name *ret);
/* Random. 0 or negative errno. Never blocks. */
int shared_dir_token(char ret[SHARED_TOKEN_SIZE]);

/*
 * Open the directory; the caller closes *ret_fd. *ret_mode: of new files. 0; -EPERM: every user of
 * the host may write there; another negative errno.
 */
int shared_dir_open(const char *path, int *ret_fd, mode_t *ret_mode);

/* Called between pieces of a copy; an error ends it. copied: bytes so far. */
struct shared_watch {
	int (*step)(void *arg, uint64_t copied);
	void *arg;
};

/*
 * Copy the content to out and compare it. md5 "": take the MD5 that lies beside it; without that
 * only the size is compared. What is wrong is removed. 0; -ENOENT: it is not there, or was wrong;
 * another negative errno.
 */
int shared_dir_take(int dir, const struct shared_name *name, uint64_t bytes, const char *md5,
		    int out, const struct shared_watch *watch);
/*
 * Make the first bytes bytes of in the content, and write their MD5 beside it. md5 not "" and
 * another one: -EIO. 0 or negative errno: nothing changed.
 */
int shared_dir_put(int dir, const struct shared_name *name, mode_t mode, uint64_t bytes,
		   const char *md5, int in, const struct shared_watch *watch);

/* Take the lock. 0; -EEXIST: another one has it; another negative errno. */
int shared_dir_lock(int dir, const struct shared_name *name, mode_t mode, const char *token);
/* Tell others how far the download is. 0; -ESTALE: the lock is another's; negative errno. */
int shared_dir_beat(int dir, const struct shared_name *name, const char *token, uint64_t progress);
/*
 * Look at a lock. ret_token: its holder, "" if it makes no sense. 0; -ENOENT: there is none;
 * another negative errno.
 */
int shared_dir_holder(int dir, const struct shared_name *name, char ret_token[SHARED_TOKEN_SIZE],
		      uint64_t *ret_progress);
/* Remove the lock if its holder is token. */
void shared_dir_unlock(int dir, const struct shared_name *name, const char *token);

/*
 * Remove what dead hosts left: temporary files and locks that were last changed SHARED_DEAD_S
 * before `fresh`, whose content was stored just now: both times are the file server's. step() is
 * called for each entry.
 */
#define SHARED_DEAD_S 3600
void shared_dir_clean(int dir, const struct shared_name *fresh, const struct shared_watch *watch);

#endif
