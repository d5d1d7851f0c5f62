/*
 * Copy a File's content to a staged file, for a writer of an existing file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/vfs/copyup.h"
#include "fs/content/fetch.h"
#include "fs/stage/file.h"
#include "fs/tree/inode.h"
#include "fs/vfs/node.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "fs/work/pool.h"
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
		staged_mark_copy(in->st);
		err = side_make(s, in->inode, in->st, NULL);
		in->st = NULL;
		if (!err)
			in->inode->side->pristine = !in->inode->side->dropped;
	}
	pthread_mutex_unlock(&s->lock);
	staged_unref(in->st);
	fetch_close(in->fetch);
	if (in->fd >= 0)
		close(in->fd);
	in->cb(in->arg, err);
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

static bool copy_some(struct hash_job *job)
{
	struct staging_in *in = (struct staging_in *)job;
	uint64_t len = in->size - in->done < COPY_STEP ? in->size - in->done : COPY_STEP;
	int to, r = 0;

	if (len > 0) {
		r = staged_write_begin(in->st, in->done, len, &to);
		if (!r) {
			r = copy_range(in->fd, to, in->done, len);
			staged_write_end(in->st, in->done, len, r ? 0 : len);
		}
		in->done += len;
	}
	in->err = r;
	return !r && in->done < in->size;
}

static void copy_ended(struct hash_job *job)
{
	struct staging_in *in = (struct staging_in *)job;

	end(in, in->err);
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
	in->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (in->fd < 0) {
		end(in, -errno);
		return;
	}
	in->job.run = copy_some;
	in->job.ended = copy_ended;
	pool_queue(in->s->cfg.disk, &in->job);
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
	r = staged_create(s->cfg.staging, &in->st);
	if (!r)
		r = open_content(s, id, bytes, from, &in->fetch);
	free(id);
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
