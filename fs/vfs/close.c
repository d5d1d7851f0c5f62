/*
 * The close that ends the writing and publishes the file.
 */
#include <errno.h>
#include <stdlib.h>

#include "fs/proc/writer.h"
#include "fs/publish/publisher.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/vfs/handle.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "fs/vfs/wait.h"

/* publications under way at which a close waits in spite of close=async */
#define ASYNC_MAX 1024

enum close_kind {
	CLOSE_NOTHING, /* publishes nothing; 0 or a sticky error */
	CLOSE_JOINS,   /* waits for the publication another close began */
	CLOSE_ENDS     /* ends the writing */
};

/* What close() waits for. Under lock. */
static enum publish_until close_until(struct vfs *s, const struct inode *i)
{
	char target[NAMES_MAX + 1];
	struct publisher_counts counts;

	if (names_temporary(i->name, target))
		return side_held_until(s);
	if (!s->cfg.close_async)
		return UNTIL_ENDED;
	/* At the limit a closer waits for its own file, so the queue stays bounded. */
	publisher_get_counts(s->cfg.publisher, &counts);
	return counts.active < ASYNC_MAX ? UNTIL_DURABLE : UNTIL_ENDED;
}

/* Under lock. */
static enum close_kind judge_close(struct handle *h, bool opener, int *ret_err)
{
	struct staged_side *l = h->inode->side;
	struct publish_info info;

	*ret_err = 0;
	if (!l || l->dropped || !opener)
		return CLOSE_NOTHING;
	if (l->lost.err) {
		/* Bytes are missing: publish no File. */
		*ret_err = l->lost.err;
		return CLOSE_NOTHING;
	}
	if ((l->dirty || l->touched) && (l->killed || handle_has_killed(h->s, h->inode, h))) {
		/* A killed writer left it half written. */
		*ret_err = -EIO;
		l->abort_reported = true;
		return CLOSE_NOTHING;
	}
	if (l->dirty)
		return CLOSE_ENDS;
	publish_get_info(l->pub, &info);
	if (info.under_way)
		return CLOSE_JOINS;
	/* A second close after a failed publication reports the failure again. */
	if (info.outcome == OUTCOME_FAILED && !l->touched)
		*ret_err = info.err;
	return CLOSE_NOTHING;
}

/* True if the last write of h came from thread tid or its process pid. Under lock. */
static bool wrote_last(const struct handle *h, pid_t tid, pid_t pid, uint64_t lock_owner)
{
	if (!h->last_owner || (tid && h->last_tid == tid))
		return h->last_tid == tid;
	/* The kernel reuses the lock owner of an ended process: compare the process, too. */
	return h->last_owner == lock_owner && (!pid || !h->last_pid || h->last_pid == pid);
}

/*
 * Decide the meaning of this close of h; seal the file if the close ends the writing. Under lock.
 */
static enum close_kind decide_close(struct vfs *s, struct handle *h, bool opener, int *err)
{
	enum close_kind kind;

	if (h->closer_killed)
		return CLOSE_NOTHING;
	if (h->writer_killed) {
		if (!opener)
			return CLOSE_NOTHING;
		*err = -EIO;
		if (h->inode->side)
			h->inode->side->abort_reported = true;
		return CLOSE_NOTHING;
	}
	kind = judge_close(h, opener, err);
	if (kind == CLOSE_ENDS) {
		h->wrote = false;
		/* One look for the seal and the wait. */
		side_seal_first(s, h->inode);
	}
	return kind;
}

/*
 * Note that a killed process closed h. The file stays half written even if a shell goes on after
 * its child was killed. A killed process that only inherited the descriptor does not count. Under
 * lock.
 */
static void note_killed(struct handle *h, bool opener, pid_t tid, pid_t pid, uint64_t lock_owner)
{
	bool cut = opener && h->cut && !h->wrote;

	h->closer_killed = handle_may_spoil(h);
	if (h->closer_killed && (cut || wrote_last(h, tid, pid, lock_owner)))
		h->writer_killed = true;
}

bool vfs_close_is_blind(struct vfs *s, struct handle *h, const struct vfs_caller *who)
{
	bool spoils;

	pthread_mutex_lock(&s->lock);
	spoils = h->may_write && handle_may_spoil(h);
	pthread_mutex_unlock(&s->lock);
	return spoils && writer_is_blind(who->tid);
}

void vfs_close_killed(struct vfs *s, struct handle *h, const struct vfs_caller *who,
		      uint64_t lock_owner)
{
	bool opener = writer_is_opener(h->writer, who->tid, lock_owner);

	pthread_mutex_lock(&s->lock);
	note_killed(h, opener, who->tid, 0, lock_owner);
	pthread_mutex_unlock(&s->lock);
}

void vfs_flush(struct vfs *s, struct handle *h, const struct vfs_caller *who, uint64_t lock_owner,
	       struct vfs_wait *wait, vfs_done_cb *cb, void *arg)
{
	struct waiting *w = (struct waiting *)wait;
	enum close_kind kind;
	bool opener, killed;
	pid_t pid = 0;
	int err = 0;

	if (!h->may_write) {
		cb(arg, 0);
		free(w);
		return;
	}
	opener = writer_is_opener(h->writer, who->tid, lock_owner);
	killed = writer_fate(h->writer, who->tid) == WRITER_KILLED;
	if (killed)
		pid = writer_process(who->tid);
	pthread_mutex_lock(&s->lock);
	h->closer_killed = false;
	if (killed)
		note_killed(h, opener, who->tid, pid, lock_owner);
	kind = decide_close(s, h, opener, &err);
	if (kind != CLOSE_NOTHING && w->cancelled) {
		publish_wake(h->inode->side->pub);
		kind = CLOSE_NOTHING;
		err = -EINTR;
	}
	if (kind != CLOSE_NOTHING) {
		w->w.until = close_until(s, h->inode);
		w->cb = cb;
		w->arg = arg;
		publish_wait(h->inode->side->pub, &w->w);
	}
	pthread_mutex_unlock(&s->lock);
	if (kind != CLOSE_NOTHING)
		return;
	/* The bytes of a close that fails are kept: over a power cut, too. */
	if (err && err != -EINTR)
		vfs_fsync(s, h);
	cb(arg, err);
	free(w);
}
