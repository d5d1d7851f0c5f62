/*
 * Copy a File's content to a staged file, for a writer of an existing file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/vfs/copyup.h"
#include "fs/content/cache_check.h"
#include "fs/content/fetch.h"
#include "fs/stage/file.h"
#include "fs/tree/inode.h"
#include "fs/vfs/node.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "fs/work/pool.h"
#include "net/base/digest.h"
#include "net/base/log.h"

#define COPY_STEP (32ULL << 20) /* bytes a worker copies before other work gets its turn */

struct staging_in {
	struct hash_job job;		  /* first */
	struct staging_in *next, **pprev; /* list vfs.stagings, under vfs.lock */
	struct vfs *s;
	struct inode *inode; /* referenced by the caller of vfs_stage_content() */
	struct fetch *fetch;
	struct staged *st;
	int fd; /* holds the whole content; -1: none */
	uint64_t size, done;
	/* Of the bytes copied, and of those the cache was given: a copy is checked before use. */
	struct digest *digest; /* NULL: the content came from the service just now */
	char md5[DIGEST_HEX_SIZE];
	char *id;     /* of the File; NULL: removed */
	bool refetch; /* the copy in the cache was wrong: one more try, from the service */
	int err;
	vfs_done_cb *cb;
	void *arg;
};

static void end(struct staging_in *in, int err)
{
	struct vfs *s = in->s;

	pthread_mutex_lock(&s->lock);
	*in->pprev = in->next;
	if (in->next)
		in->next->pprev = in->pprev;
	/* Another call may have made the local side first. */
	if (!err && !in->inode->side) {
		/* Before the first row: until a change the File stands. */
		staged_mark_copy(in->st, NULL);
		err = side_make(s, in->inode, in->st, NULL);
		in->st = NULL;
		if (!err)
			in->inode->side->pristine = !in->inode->side->dropped;
	}
	pthread_mutex_unlock(&s->lock);
	staged_unref(in->st);
	in->cb(in->arg, err);
	/* It may read the content for its MD5: nobody waits for that. */
	fetch_close(in->fetch);
	if (in->fd >= 0)
		close(in->fd);
	digest_free(in->digest);
	free(in->id);
	free(in);
}

static int copy_range(int from, int to, uint64_t off, uint64_t len)
{
	while (len > 0) {
		off_t a = (off_t)off, b = (off_t)off;
		ssize_t n = copy_file_range(from, &a, to, &b, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO; /* shorter than announced */
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* Copy the next len bytes, and hash them as they stand in the copy. */
static int copy_and_hash(struct staging_in *in, uint64_t len)
{
	int to, r = staged_write_begin(in->st, in->done, len, &to);

	if (r)
		return r;
	r = copy_range(in->fd, to, in->done, len);
	staged_write_end(in->st, in->done, len, r ? 0 : len);
	if (!r && in->digest)
		r = cache_hash_range(to, in->done, len, in->digest);
	return r;
}

/* True if the copy is not what the cache was given. */
static bool is_wrong(struct staging_in *in)
{
	char md5[DIGEST_HEX_SIZE];

	if (!in->digest || digest_hex(in->digest, md5))
		return false;
	return strcmp(md5, in->md5) != 0;
}

static bool copy_some(struct hash_job *job)
{
	struct staging_in *in = (struct staging_in *)job;
	uint64_t len = in->size - in->done < COPY_STEP ? in->size - in->done : COPY_STEP;

	in->err = len ? copy_and_hash(in, len) : 0;
	if (!in->err)
		in->done += len;
	/* A cached copy that can't be read, or was cut, is as wrong as one with other bytes. */
	in->refetch = in->digest && (in->err == -EIO || (in->done == in->size && is_wrong(in)));
	return !in->err && !in->refetch && in->done < in->size;
}

static void copy_ended(struct hash_job *job);

/* Have the content copied by the worker. 0 or negative errno. */
static int begin_copy(struct staging_in *in, int fd)
{
	in->done = 0;
	in->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (in->fd < 0)
		return -errno;
	if (fetch_get_md5(in->fetch, in->md5)) {
		in->digest = digest_new();
		if (!in->digest)
			return -ENOMEM;
	}
	in->job.run = copy_some;
	in->job.ended = copy_ended;
	pool_queue(in->s->cfg.disk, &in->job);
	return 0;
}

static void have_all(void *arg, int err, const char *text, int fd, uint64_t off, size_t len)
{
	struct staging_in *in = arg;

	(void)off;
	if (err) {
		vfs_log_failed(in->s, in->inode, "fetching it to change it failed", err, text);
		end(in, err);
		return;
	}
	if (len < in->size)
		in->size = len;
	err = begin_copy(in, fd);
	if (err)
		end(in, err);
}

/* Drop the wrong copy and fetch the content: an errno of the service if it hands out none. */
static int fetch_again(struct staging_in *in)
{
	struct fetch *wrong = in->fetch;
	int r;

	/* The kernel may have read wrong bytes: its pages go with the next open. */
	pthread_mutex_lock(&in->s->lock);
	in->inode->stale_pages = true;
	pthread_mutex_unlock(&in->s->lock);
	fetch_reject(wrong);
	in->fetch = NULL;
	fetch_close(wrong);
	close(in->fd);
	in->fd = -1;
	digest_free(in->digest);
	in->digest = NULL;
	in->refetch = false;
	/* The File was removed: the copy was all there is. */
	if (!in->id)
		return -EIO;
	r = staged_truncate(in->st, 0);
	return r ? r : fetch_open(in->s->cfg.fetcher, in->id, in->size, &in->fetch);
}

static void copy_ended(struct hash_job *job)
{
	struct staging_in *in = (struct staging_in *)job;
	int r;

	if (!in->refetch) {
		end(in, in->err);
		return;
	}
	r = fetch_again(in);
	if (r)
		end(in, r);
	else
		fetch_all(in->fetch, have_all, in);
}

/* Open the source of the copy: the File, or the handle's content once the File was removed. */
static int open_content(struct vfs *s, const char *id, uint64_t bytes, struct fetch *from,
			struct fetch **ret)
{
	if (id)
		return fetch_open(s->cfg.fetcher, id, bytes, ret);
	*ret = fetch_ref(from);
	return 0;
}

void vfs_stage_content(struct vfs *s, struct inode *i, struct fetch *from, vfs_done_cb *cb,
		       void *arg)
{
	struct staging_in *in = calloc(1, sizeof(*in));
	char *id;
	uint64_t bytes;
	bool gone;
	int r;

	pthread_mutex_lock(&s->lock);
	gone = !i->file_id;
	id = gone ? NULL : strdup(i->file_id);
	bytes = gone && from ? fetch_bytes(from) : i->bytes;
	r = gone ? (from ? 0 : -ENOENT) : id ? 0 : -ENOMEM;
	if (in && !r) {
		in->next = s->stagings;
		if (in->next)
			in->next->pprev = &in->next;
		in->pprev = &s->stagings;
		s->stagings = in;
	}
	pthread_mutex_unlock(&s->lock);
	if (!in || r) {
		free(in);
		free(id);
		cb(arg, r ? r : -ENOMEM);
		return;
	}
	in->s = s;
	in->inode = i;
	in->fd = -1;
	in->cb = cb;
	in->arg = arg;
	in->size = bytes;
	in->id = id;
	r = staged_create(s->cfg.staging, &in->st);
	if (!r)
		r = open_content(s, id, bytes, from, &in->fetch);
	if (r)
		end(in, r);
	else
		fetch_all(in->fetch, have_all, in);
}

void vfs_end_stagings(struct vfs *s)
{
	/* These jobs were still queued when the disk workers ended. */
	while (s->stagings)
		end(s->stagings, -EINTR);
}
