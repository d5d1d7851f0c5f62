#include "fs/content/fetch_shared.h"

#include <errno.h>
#include <unistd.h>

#include "fs/content/cache.h"
#include "fs/content/fetch_life.h"
#include "fs/content/shared.h"

/* Under lock: the copy is the content. */
static void take_copy(struct fetch *ft)
{
	ft->fd = ft->shared_fd;
	ft->token = ft->shared_token;
	ft->temp = ft->whole = true;
}

/* The copy is not wanted: the content comes from the service. 0 or negative errno. */
static int leave_copy(struct fetch *ft, int err)
{
	if (ft->shared_fd >= 0) {
		close(ft->shared_fd);
		cache_fetch_drop(ft->f->cache, ft->shared_token);
	}
	return err == -ECANCELED ? -EINTR : fetch_begin(ft);
}

/*
 * The answer of the shared directory. Its descriptor of the copy is not used for the download: a
 * worker that hangs may write to it later.
 */
static void answered(void *arg, int err)
{
	struct fetch *ft = arg;
	struct shared_file *done = NULL;
	struct fetch_waiters now;
	int rc = err ? leave_copy(ft, err) : 0, fd;

	fetch_waiters_init(&now);
	pthread_mutex_lock(&ft->f->lock);
	if (!err)
		take_copy(ft);
	/* What was not there is stored later. */
	if (err != -ENOENT) {
		done = ft->shared_file;
		ft->shared_file = NULL;
	}
	ft->shared = FETCH_SHARED_DONE;
	fd = ft->fd;
	if (err && !rc) {
		rc = fetch_pump(ft);
		if (rc)
			fetch_take_unserved(ft, &now);
	} else {
		fetch_waiters_move(&ft->waiters, &now);
	}
	pthread_mutex_unlock(&ft->f->lock);
	fetch_waiters_answer(&now, rc, rc == -EINTR ? "the mount ends" : "cannot start a request",
			     fd);
	shared_end(done);
	fetch_put(ft);
}

/* True for the one caller that is to ask. */
static bool is_first(struct fetch *ft, bool *ret_asked)
{
	bool first = false;

	pthread_mutex_lock(&ft->f->lock);
	if (ft->shared == FETCH_SHARED_NEW) {
		first = ft->f->shared && ft->fd < 0;
		ft->shared = first ? FETCH_SHARED_ASKED : FETCH_SHARED_DONE;
		ft->nbusy += first;
	}
	*ret_asked = ft->shared == FETCH_SHARED_ASKED;
	pthread_mutex_unlock(&ft->f->lock);
	return first;
}

bool fetch_shared_ask(struct fetch *ft)
{
	struct shared_file *file;
	uint64_t token = 0;
	int fd = -1, rc;
	bool asked;

	if (!is_first(ft, &asked))
		return asked;
	file = shared_begin(ft->f->shared, ft->id, ft->bytes, ft->expected);
	rc = file ? cache_fetch_begin(ft->f->cache, &token, &fd) : -ENOMEM;
	pthread_mutex_lock(&ft->f->lock);
	ft->shared_file = file;
	ft->shared_fd = rc ? -1 : fd;
	ft->shared_token = token;
	pthread_mutex_unlock(&ft->f->lock);
	if (!rc)
		rc = shared_get(file, fd, answered, ft);
	if (!rc)
		return true;
	answered(ft, rc == -ECANCELED || rc == -ENOENT ? -EIO : rc);
	return false;
}

void fetch_shared_cancel(struct fetch *ft)
{
	if (ft->shared == FETCH_SHARED_ASKED && ft->shared_file)
		shared_cancel(ft->shared_file);
}

void fetch_shared_progress(struct fetch *ft, size_t len)
{
	if (ft->shared_file)
		shared_progress(ft->shared_file, len);
}

void fetch_shared_store(struct fetch *ft)
{
	if (!ft->shared_file || !ft->whole)
		return;
	shared_put(ft->shared_file, ft->fd);
	shared_end(ft->shared_file);
	ft->shared_file = NULL;
}
