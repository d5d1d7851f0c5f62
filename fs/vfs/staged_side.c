/*
 * The local side of a file: its staged bytes, their publication, and the end of both.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/vfs/staged_side.h"
#include "fs/content/cache.h"
#include "fs/proc/scout.h"
#include "fs/proc/source.h"
#include "fs/state/data.h"
#include "fs/state/files.h"
#include "fs/state/store.h"
#include "fs/publish/publisher.h"
#include "fs/stage/file.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/vfs/attrs_kept.h"
#include "fs/vfs/check.h"
#include "fs/vfs/gone.h"
#include "fs/vfs/handle.h"
#include "fs/vfs/intent.h"
#include "fs/vfs/lifetime.h"
#include "fs/vfs/side_name.h"
#include "fs/vfs/vfs_impl.h"
#include "net/api/api.h"
#include "net/base/clock.h"
#include "net/base/log.h"

/* Ties a publication to its inode; keeps the inode while callbacks of the publication may come. */
struct owner {
	struct vfs *s;
	struct inode *inode; /* referenced */
};

static void owner_release(void *arg)
{
	struct owner *o = arg;

	pthread_mutex_lock(&o->s->lock);
	inode_unref(o->s->table, o->inode);
	pthread_mutex_unlock(&o->s->lock);
	free(o);
}

static void free_superseded(struct staged_side *l)
{
	while (l->superseded_count)
		free(l->superseded_files[--l->superseded_count]);
}

static int note_file(struct vfs *s, struct inode *i, struct publish *pub,
		     const struct publish_result *r)
{
	struct published *p = calloc(1, sizeof(*p));
	struct publish_info info;

	if (!p || inode_set_file_id(s->table, i, r->file_id)) {
		free(p);
		return -ENOMEM;
	}
	publish_get_info(pub, &info);
	memcpy(p->md5, info.md5, sizeof(p->md5));
	p->parts = info.parts_total;
	p->upload_id = strdup(info.upload_id);
	p->error = r->error ? strdup(r->error) : NULL;
	s->has_unusable = s->has_unusable || r->error;
	inode_published_free(i->published);
	i->published = p;
	i->bytes = r->bytes;
	i->created_at = r->created_at;
	i->expires_at = r->expires_at;
	p->fresh_until_ms = clock_mono_ms() + PUBLISH_GRACE_MS;
	/* Filename equals path now. */
	i->renamed_for_conflict = false;
	free(i->filename);
	i->filename = NULL;
	/* The File is new: no listing has named it. */
	i->seen = 0;
	/* Until then the row `completed` has them. */
	vfs_remember_later(s, i);
	return 0;
}

/* Forget the former File if it is gone or has an entry of its own. */
static void note_empty(struct vfs *s, struct inode *i)
{
	if (i->file_id && (s->cfg.keep_old || vfs_is_gone(s, i->file_id)))
		inode_set_file_id(s->table, i, NULL);
}

/* A File was deleted: hide it from entries and from listings under way. */
static void on_deleted(void *arg, const char *file_id)
{
	struct owner *o = arg;

	pthread_mutex_lock(&o->s->lock);
	vfs_note_gone(o->s, file_id);
	/* The target of an intent stays until the name moves. */
	if (!o->inode->side || !o->inode->side->intent)
		vfs_forget_listed(o->s, file_id);
	pthread_mutex_unlock(&o->s->lock);
}

/* True if what is at the target goes with the commit of t. Under lock. */
static bool replaces(const struct rename_intent *t, const struct inode *other)
{
	if (other->kind != INODE_FILE || t->noreplace)
		return false;
	/* Written since the crash: the rename came before that. */
	if (t->recovered && other->side)
		return other->side->recovered;
	return !t->recovered || !other->file_id || intent_dooms(t, other->file_id);
}

/* Move i to its new name; beside what has to stay there: to a name of its own. Under lock. */
static int place_new_file(struct vfs *s, const struct rename_intent *t, struct inode *i,
			  struct inode *dir, const struct inode *other)
{
	char aside[NAMES_MAX + 1];

	if (!other || other == i)
		return inode_move(s->table, i, dir, t->name);
	names_duplicate(t->name, staged_id(i->side->st), aside);
	if (inode_find(s->table, dir, aside))
		return -EEXIST;
	return inode_move(s->table, i, dir, aside);
}

/*
 * Move i to the intent's name, now that its File exists, and remove the target. *ret_unwanted: a
 * File at the target that nothing has superseded, allocated, or NULL. Returns an argument for
 * side_release(). Under lock.
 */
static struct staged_side *commit_intent(struct vfs *s, struct inode *i, const char *new_file_id,
					 char **ret_unwanted)
{
	struct rename_intent *t = i->side->intent;
	struct inode *dir = inode_get(s->table, t->dir);
	struct inode *other = dir ? inode_find(s->table, dir, t->name) : NULL;
	struct staged_side *out = NULL;

	t->done = true;
	/* Until they are deleted no listing shows them. */
	for (size_t k = 0; k < t->victim_count; k++)
		side_note_superseded(i->side, t->victims[k]);
	if (other && other != i && replaces(t, other)) {
		if (other->file_id && !intent_dooms(t, other->file_id) &&
		    (!new_file_id || strcmp(other->file_id, new_file_id) != 0))
			*ret_unwanted = strdup(other->file_id);
		if (other->side)
			side_drop(other->side);
		out = side_settle(s, other);
		inode_unlink(s->table, other);
		other = NULL;
	}
	if (i->parent)
		vfs_keep_dir(s, i->parent);
	if (!dir || (!i->parent && !t->recovered) || place_new_file(s, t, i, dir, other))
		log_error("a renamed file shows under its new name after the next listing");
	intent_close(t);
	vfs_keep_changed(s);
	return out;
}

/* As side_release(), without waiting for the disk: the publisher's thread must not. */
static void forget(struct staged_side *l)
{
	if (!l)
		return;
	publish_unref(l->pub);
	staged_unref(l->st);
	free_superseded(l);
	free(l->superseded_files);
	lost_clear(&l->lost);
	free(l);
}

/* The File exists: the names change before the Files it replaces are deleted. */
static void on_appeared(void *arg, struct publish *pub, const char *file_id)
{
	struct owner *o = arg;
	struct vfs *s = o->s;
	struct staged_side *l, *victim = NULL;
	char *unwanted = NULL;

	pthread_mutex_lock(&s->lock);
	l = o->inode->side;
	if (l && l->pub == pub && !l->dropped && l->intent) {
		vfs_forget_listed(s, file_id);
		victim = commit_intent(s, o->inode, file_id, &unwanted);
	}
	pthread_mutex_unlock(&s->lock);
	forget(victim);
	if (unwanted && !s->cfg.keep_old)
		vfs_delete_unwanted(s, unwanted);
	free(unwanted);
}

/* Its rename is going to replace a File: with the same bytes none is sent. */
static void expect(struct vfs *s, struct inode *i)
{
	char target[NAMES_MAX + 1];
	const struct inode *other = NULL;

	if (i->parent && names_temporary(i->name, target))
		other = inode_find(s->table, i->parent, target);
	if (other && other->kind == INODE_FILE && other->file_id)
		publish_set_likely(i->side->pub, other->file_id);
}

static void on_ended(void *arg, struct publish *pub, const struct publish_result *r)
{
	struct owner *o = arg;
	struct vfs *s = o->s;
	struct staged_side *l, *out = NULL, *victim = NULL;
	char *unwanted = NULL;
	struct rename_intent *aims;
	bool wanted;

	pthread_mutex_lock(&s->lock);
	l = o->inode->side;
	/* An earlier daemon's rename that did not happen. */
	if (r->outcome == OUTCOME_DROPPED && l && l->pub == pub)
		l->dropped = true;
	wanted = l && l->pub == pub && !l->dropped;
	/*
	 * A rename whose File can't be used fails: both names stay, and the listing shows the File.
	 */
	if (r->outcome == OUTCOME_COMPLETED && r->err && wanted && l->intent) {
		/* Nobody waits for that of an earlier daemon. */
		if (l->intent->recovered) {
			intent_close(l->intent);
			l->pristine = true;
			out = side_settle(s, o->inode);
		}
		pthread_mutex_unlock(&s->lock);
		forget(out);
		return;
	}
	if (r->outcome == OUTCOME_COMPLETED && wanted)
		free_superseded(l);
	if (l && l->pub == pub) {
		if (r->outcome == OUTCOME_COMPLETED && wanted)
			vfs_forget_listed(s, r->file_id);
		if (l->intent && wanted &&
		    (r->outcome == OUTCOME_COMPLETED || r->outcome == OUTCOME_EMPTY))
			victim = commit_intent(s, o->inode, r->file_id, &unwanted);
		if (r->outcome == OUTCOME_COMPLETED && wanted && note_file(s, o->inode, pub, r))
			log_error("out of memory: %s shows under its name after the next listing",
				  r->file_id);
		/* It is at the target of an open rename, which replaces this File now. */
		aims = o->inode->parent && r->outcome == OUTCOME_COMPLETED && wanted
			       ? intent_at(s, o->inode->parent, o->inode->name)
			       : NULL;
		if (aims && aims->side != l && !aims->noreplace && !aims->recovered &&
		    intent_doom(aims, r->file_id))
			log_error("out of memory: %s stays beside the renamed file", r->file_id);
		if (r->outcome == OUTCOME_EMPTY && wanted)
			note_empty(s, o->inode);
		out = side_settle(s, o->inode);
		/* References of the side and its publication. */
		if (o->inode->side && !o->inode->nopen)
			staged_rest(l->st, 2);
	}
	pthread_mutex_unlock(&s->lock);
	forget(out);
	forget(victim);
	if (unwanted && !s->cfg.keep_old)
		vfs_delete_unwanted(s, unwanted);
	free(unwanted);
	/* The file was removed before the reply about its File came: delete the File. */
	if (r->outcome == OUTCOME_COMPLETED && !wanted && !r->kept)
		vfs_delete_unwanted(s, r->file_id);
}

int side_make(struct vfs *s, struct inode *i, struct staged *st, const struct record *r)
{
	struct staged_side *l = calloc(1, sizeof(*l));
	struct owner *o = calloc(1, sizeof(*o));
	struct publish_spec spec = { .ended = on_ended,
				     .appeared = on_appeared,
				     .deleted = on_deleted,
				     .release = owner_release };
	char *path = NULL, *hold = NULL;
	/* Its publication alone goes on; both names mean what they meant. */
	bool hidden = r && !i->parent && r->copy && r->state == RECORD_COMPLETING;
	int err = -ENOMEM;

	if (!l || !o)
		goto fail;
	err = hidden ? (path = strdup(r->path)) ? 0 : -ENOMEM : inode_path(i, &path);
	if (err)
		goto fail;
	hold = side_hold_name(i, path);
	o->s = s;
	o->inode = i;
	spec.arg = o;
	spec.staged = st;
	spec.purpose = i->purpose;
	spec.path = path;
	spec.hold_name = hold;
	spec.superseded = i->file_id;
	spec.mode = i->mode;
	spec.uid = i->uid;
	spec.gid = i->gid;
	errno = ENOMEM;
	l->pub = r ? publish_recover(s->cfg.publisher, &spec, r)
		   : publish_new(s->cfg.publisher, &spec);
	if (!l->pub) {
		err = -errno;
		goto fail;
	}
	/* Without memory the superseded Files stay, as with keep_old. */
	for (size_t k = 0; r && !hidden && k < r->superseded_count; k++)
		if (api_id_valid(r->superseded[k]))
			side_note_superseded(l, r->superseded[k]);
	inode_ref(i); /* the reference of o */
	l->st = st;
	if (r && r->md5 && r->state == RECORD_COMPLETED)
		snprintf(l->md5, sizeof(l->md5), "%s", r->md5);
	/* Set it now: the publisher reports it a moment later. */
	l->killed = r && (r->state == RECORD_WRITING || r->state == RECORD_ABORTED);
	l->recovered = r != NULL;
	/* Count the writers that opened the File before it had a local side. */
	for (const struct handle *h = s->handles; h; h = h->next)
		l->writers += h->inode == i && h->may_write;
	i->side = l;
	l->expiry_set = r && r->expires_after;
	l->check = r && r->check ? CHECK_JSONL : CHECK_UNSET;
	l->check_set = r && r->check;
	if (!r) {
		lifetime_begin(s, i);
		check_begin(s, i);
		expect(s, i);
	}
	l->next = s->sides;
	if (l->next)
		l->next->pprev = &l->next;
	l->pprev = &s->sides;
	s->sides = l;
	/* The file was removed meanwhile: its open handles go on, nothing is published. */
	if (!i->parent && !hidden)
		side_drop(l);
	free(path);
	free(hold);
	return 0;
fail:
	staged_unref(st);
	free(path);
	free(hold);
	free(o);
	free(l);
	return err;
}

struct staged_side *side_take(struct vfs *s, struct inode *i)
{
	struct staged_side *l = i->side;

	i->side = NULL;
	intent_close(l ? l->intent : NULL);
	/* Handles read on from these bytes: side_release() must not cut them. */
	for (const struct handle *h = l ? s->handles : NULL; h; h = h->next)
		l->has_readers = l->has_readers || h->st == l->st;
	if (l) {
		*l->pprev = l->next;
		if (l->next)
			l->next->pprev = l->pprev;
	}
	return l;
}

/*
 * Not open: free its space before rm(1) returns, not when its publication ends; but not before the
 * commit that dropped it is durable. A power cut could bring its row back, as the target of a
 * rename that did not happen, and its bytes would be gone.
 */
static void free_bytes(struct vfs *s, struct staged_side *l)
{
	struct statedb *db = s->cfg.db;

	if (!staged_size(l->st) || (db && statedb_sync(db, statedb_seq(db))))
		return;
	staged_unseal(l->st);
	staged_truncate(l->st, 0);
}

void side_release(struct vfs *s, struct staged_side *l)
{
	if (l && l->dropped && !l->has_readers)
		free_bytes(s, l);
	forget(l);
}

struct adopting {
	struct vfs *s;
	const struct inode *inode;
	const char *md5;
	bool synced;
};

static int adopt(void *arg, const char *data)
{
	const struct adopting *a = arg;

	return cache_adopt(a->s->cfg.cache, a->inode->file_id, data, a->inode->bytes, a->md5,
			   a->synced);
}

/* Hand the staged bytes, whose MD5 is md5, to the cache. Under lock. */
static void to_cache(struct vfs *s, struct inode *i, const char *md5)
{
	struct adopting a = { s, i, md5, staged_synced(i->side->st) };
	char hashed[DIGEST_HEX_SIZE];

	/* A publication that was taken up after its end does not know it. */
	if (!*md5 && staged_md5(i->side->st, hashed) == 0)
		a.md5 = hashed;
	else if (!*md5)
		a.md5 = i->side->md5;
	/* Else remove it now: a record kept until the last reader could outlive its File. */
	if (!i->file_id || staged_give(i->side->st, adopt, &a))
		staged_remove(i->side->st);
}

/* Point open readers at the staged bytes. Under lock. */
static void leave_to_readers(struct vfs *s, struct inode *i)
{
	for (struct handle *h = i->nopen ? s->handles : NULL; h; h = h->next) {
		if (h->inode != i || h->st == i->side->st)
			continue;
		staged_unref(h->st);
		h->st = staged_ref(i->side->st);
	}
	i->stale_pages = true;
}

struct staged_side *side_settle(struct vfs *s, struct inode *i)
{
	struct publish_info info;
	struct staged_side *l = i->side;

	if (!l || l->writers || l->dirty || l->touched)
		return NULL;
	if (l->dropped)
		return i->nopen ? NULL : side_take(s, i);
	if (l->pristine) {
		/* The content was fetched but not changed: the File stands. */
		leave_to_readers(s, i);
		side_drop(l);
		return side_take(s, i);
	}
	publish_get_info(l->pub, &info);
	/* An inferred File may have other bytes, or be removed by whoever made it: keep these. */
	if (info.under_way || info.outcome != OUTCOME_COMPLETED || (info.inferred && !info.spoiled))
		return NULL;
	leave_to_readers(s, i);
	to_cache(s, i, info.md5);
	if (s->cfg.db)
		statedb_flush(s->cfg.db);
	return side_take(s, i);
}

static void seal_side(struct vfs *s, struct inode *i, bool first)
{
	struct staged_side *l = i->side;
	struct publish_info info;
	const char *purpose;
	char *path, *hold;

	/* An ended publication ends again only after a reopen. */
	publish_get_info(l->pub, &info);
	if (info.outcome == OUTCOME_COMPLETED || info.outcome == OUTCOME_EMPTY)
		publish_reopen(l->pub);
	l->dirty = l->touched = l->pristine = false;
	l->seals++;
	staged_seal(l->st);
	path = hold = NULL;
	if (side_path(s, i, &purpose, &path) == 0)
		hold = side_hold_name(i, path);
	if (!hold || publish_hold(l->pub, hold, s->cfg.hold_timeout_s))
		(first ? publish_seal_first : publish_seal)(l->pub);
	free(hold);
	free(path);
}

void side_seal(struct vfs *s, struct inode *i)
{
	seal_side(s, i, false);
}

void side_seal_first(struct vfs *s, struct inode *i)
{
	seal_side(s, i, true);
}

enum publish_until side_held_until(const struct vfs *s)
{
	return s->cfg.close_async || s->cfg.sync_always ? UNTIL_DURABLE : UNTIL_KEPT;
}

void side_changed(struct staged_side *l)
{
	l->pristine = l->recovered = false;
	l->dirty = !l->dropped;
}

int side_reopen(struct staged_side *l)
{
	if (!l->dropped && !publish_reopen(l->pub))
		return -EBUSY;
	staged_unseal(l->st);
	/* The next close must end the writing again, even if no write succeeds. */
	side_changed(l);
	l->predicted = 0;
	l->predict_tries = PREDICT_TRIES; /* the present bytes are no copy of a source */
	return 0;
}

int side_note_removed(struct staged_side *l)
{
	int r = l->dropped ? 0 : staged_unlink(l->st);

	if (r)
		log_warn(DATA_DIR "/%s: its removal is not noted: %s", staged_id(l->st),
			 strerror(-r));
	return r == -ENOSPC || r == -EDQUOT ? 0 : r;
}

void side_drop(struct staged_side *l)
{
	if (l->dropped)
		return;
	/* Before the reply: after a kill the next mount must not publish it. */
	side_note_removed(l);
	l->dropped = true;
	l->dirty = l->touched = l->pristine = false;
	publish_drop(l->pub);
}

void side_declare(struct vfs *s, struct staged_side *l, uint64_t size)
{
	(void)s;
	/* One prediction per writing: each further one would waste an Upload. */
	if (l->dropped || l->declared || l->predict_tries >= PREDICT_TRIES)
		return;
	l->predict_tries = PREDICT_TRIES;
	l->predicted = size;
	publish_predict(l->pub, size);
}

/*
 * True if it is time to look at what the writer has open. Under lock. A short first write is
 * likely to be all: the look, which costs more than the write, is left to the second one.
 */
static bool may_predict(struct vfs *s, struct staged_side *l, uint64_t end)
{
	if (!l->predict_next && end < PREDICT_SHORT) {
		l->predict_next = end + 1;
		return false;
	}
	if (l->dropped || l->predicted || l->declared || l->predict_tries >= PREDICT_TRIES ||
	    end < l->predict_next)
		return false;
	l->predict_tries++;
	l->look = ++s->looks;
	l->predict_next = l->predict_tries > 1 ? l->predict_next * 4 : 1 << 20;
	return true;
}

/* A look found the size. The side may have changed or been replaced since. */
static void on_size_found(void *arg, uint64_t ino, uint64_t ticket, uint64_t size)
{
	struct vfs *s = arg;
	struct staged_side *l;
	struct inode *i;

	pthread_mutex_lock(&s->lock);
	i = inode_get(s->table, ino);
	l = i ? i->side : NULL;
	/* A prediction is useless once all bytes are here. */
	if (l && l->look == ticket && !l->predicted && !l->declared && !l->dropped && l->dirty &&
	    size > staged_size(l->st) && size <= STAGED_SIZE_MAX) {
		l->predicted = size;
		publish_predict(l->pub, size);
	}
	pthread_mutex_unlock(&s->lock);
}

int side_start_scout(struct vfs *s)
{
	const struct scout_config cfg = { .note = predict_note,
					  .look = predict_finish,
					  .free = predict_free,
					  .found = on_size_found,
					  .arg = s };

	return scout_new(&cfg, &s->scout);
}

void side_predict(struct vfs *s, struct handle *h, uint64_t start, uint64_t end,
		  const struct vfs_caller *who)
{
	struct predict_query q = { .tid = who->tid,
				   .uid = who->uid,
				   .gid = who->gid,
				   .start = start,
				   .end = end,
				   .own_dev = s->dev };
	struct predict_look *look;
	struct staged_side *l;
	struct staged *st;
	uint64_t ticket;
	int r;

	pthread_mutex_lock(&s->lock);
	l = h->inode->side;
	if (l && l->predicted && end > l->predicted) {
		l->predicted = 0;
		l->predict_tries = PREDICT_TRIES;
		publish_predict(l->pub, 0);
	}
	if (who->tid <= 0 || !l || !may_predict(s, l, end)) {
		pthread_mutex_unlock(&s->lock);
		return;
	}
	/* Look at the process: the thread may end before the look. */
	if (h->last_pid > 0 && h->last_tid == who->tid)
		q.tid = h->last_pid;
	st = staged_ref(l->st);
	ticket = l->look;
	pthread_mutex_unlock(&s->lock);
	q.staged_fd = staged_fd(st);
	r = predict_begin(&q, &look);
	staged_unref(st);
	/* The rest may hang, in /proc as well: keep it off threads that serve requests. */
	if (!r)
		scout_post(s->scout, look, h->inode->ino, ticket);
}
