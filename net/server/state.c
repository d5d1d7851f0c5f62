/* state: loading, tidying up and expiry; see state.h. */
#include "net/server/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/clock.h"
#include "net/base/log.h"
#include "net/server/ahead.h"
#include "net/server/files.h"
#include "net/server/partlist.h"
#include "net/server/store.h"
#include "net/server/uploads.h"

#define KEEP_ENDED_S (24 * 3600) /* ended Uploads are kept this long over restarts */
#define EXPIRE_BATCH 64

static int save_upload(struct state *st, const struct upload *up)
{
	struct buf text;
	int err;

	buf_init(&text, 1u << 20);
	upload_record(&text, up);
	err = store_record_write(st->store, STORE_UPLOADS, up->id, &text, false);
	buf_release(&text);
	return err;
}

static int load_upload(void *arg, const char *id, const char *text, size_t len)
{
	struct state *st = arg;
	struct upload *up;
	int err = upload_parse(id, text, len, &up);

	if (err == -ENOMEM)
		return err;
	if (err) {
		log_error("record of %s is damaged; left alone", id);
		st->damaged = true;
		return 0;
	}
	if (up->status != UPLOAD_PENDING && clock_wall_s() > up->expires_at + KEEP_ENDED_S) {
		store_record_remove(st->store, STORE_UPLOADS, id);
		upload_free(up);
		return 0;
	}
	/* Of an ended one the record tells. */
	err = up->status == UPLOAD_PENDING ? upload_index(st, up) : 0;
	if (err || up->status != UPLOAD_PENDING)
		upload_free(up);
	return err;
}

/* Repair a crash between the writes of the File's record, which counts, and its Upload's. */
static void repair_completed(struct state *st, const struct file *f)
{
	struct upload *up = map_get(&st->uploads, f->upload_id);

	if (!up || up->status != UPLOAD_PENDING)
		return;
	snprintf(up->file_id, sizeof(up->file_id), "%s", f->id);
	upload_end(st, up, UPLOAD_COMPLETED);
	upload_remove_unlisted(st->store, f);
	save_upload(st, up);
}

static int load_file(void *arg, const char *id, const char *text, size_t len)
{
	struct state *st = arg;
	struct file *f;
	int err = file_parse(id, text, len, &f);

	if (err == -ENOMEM)
		return err;
	if (err) {
		log_error("record of %s is damaged; left alone", id);
		st->damaged = true;
		return 0;
	}
	err = file_adopt(st, f);
	if (err) {
		file_free(f);
		return err;
	}
	repair_completed(st, f);
	return 0;
}

/* Load the finished Parts of a pending Upload. */
static int load_parts(struct state *st, struct upload *up)
{
	struct part_list list;
	size_t i;
	int err;

	store_data_sweep(st->store, up->id);
	err = part_list_load(&list, st->store, up->id);
	if (err)
		return err == -ENOENT ? store_data_make(st->store, up->id) : err;
	for (i = 0; i < list.count && !err; i++)
		err = upload_adopt_part(up, list.v[i].id, list.v[i].bytes);
	part_list_release(&list);
	return err;
}

struct owner_walk {
	struct state *st;
	struct map owners; /* data directories used by Files */
};

static int sweep_owner(void *arg, const char *owner)
{
	struct owner_walk *walk = arg;
	const struct upload *up = map_get(&walk->st->uploads, owner);

	if (!map_get(&walk->owners, owner) && !(up && up->status == UPLOAD_PENDING))
		store_data_remove(walk->st->store, owner);
	return 0;
}

/* Remove data without an owner, left by a crash during a request or a removal. */
static int sweep_data(struct state *st)
{
	struct owner_walk walk = { .st = st };
	size_t i;
	int err = 0;

	for (i = 0; i < st->file_count && !err; i++) {
		err = map_put(&walk.owners, st->sorted[i]->data, st->sorted[i]);
		if (err == -EEXIST)
			err = 0;
	}
	if (!err)
		err = store_data_each(st->store, sweep_owner, &walk);
	map_release(&walk.owners);
	return err;
}

static int load(struct state *st)
{
	size_t i;
	int err;

	err = store_record_each(st->store, STORE_UPLOADS, load_upload, st);
	if (!err)
		err = store_record_each(st->store, STORE_FILES, load_file, st);
	if (err)
		return err;
	file_sort(st);
	for (i = 0; i < st->pending_count && !err; i++)
		err = load_parts(st, st->pending[i]);
	/* Keep all data if a record is damaged: its data would look unowned. */
	return err || st->damaged ? err : sweep_data(st);
}

static void state_free(struct state *st)
{
	struct upload *up;
	size_t i, pos = 0;

	while ((up = map_each(&st->uploads, &pos)))
		upload_free(up);
	for (i = 0; i < st->file_count; i++)
		file_free(st->sorted[i]);
	map_release(&st->uploads);
	map_release(&st->files);
	free(st->pending);
	free(st->sorted);
	pthread_cond_destroy(&st->changed);
	pthread_mutex_destroy(&st->lock);
	free(st);
}

int state_open(struct store *store, unsigned ttl_s, struct state **ret)
{
	struct state *st = calloc(1, sizeof(*st));
	int err;

	if (!st)
		return -ENOMEM;
	st->store = store;
	st->ttl_s = ttl_s;
	pthread_mutex_init(&st->lock, NULL);
	pthread_cond_init(&st->changed, NULL);
	err = load(st);
	if (!err)
		err = ahead_start(st);
	if (err)
		state_free(st);
	else
		*ret = st;
	return err;
}

void state_stop(struct state *st)
{
	pthread_mutex_lock(&st->lock);
	atomic_store(&st->stopping, true);
	pthread_cond_broadcast(&st->changed);
	pthread_mutex_unlock(&st->lock);
}

void state_close(struct state *st)
{
	if (!st)
		return;
	ahead_join(st);
	state_free(st);
}

/* Expire up to EXPIRE_BATCH due Uploads and return them in due. */
static size_t take_due(struct state *st, struct upload *due[EXPIRE_BATCH])
{
	int64_t now = clock_wall_s();
	size_t i = 0, n = 0;

	pthread_mutex_lock(&st->lock);
	while (i < st->pending_count && n < EXPIRE_BATCH) {
		struct upload *up = st->pending[i];

		if (up->busy || now < up->expires_at) {
			i++;
			continue;
		}
		upload_end(st, up, UPLOAD_EXPIRED);
		up->refs++;
		due[n++] = up;
	}
	pthread_mutex_unlock(&st->lock);
	return n;
}

void state_expire(struct state *st)
{
	struct upload *due[EXPIRE_BATCH];
	size_t i, n;

	do {
		n = take_due(st, due);
		for (i = 0; i < n; i++) {
			/* Unsaved, it expires at the next start. */
			save_upload(st, due[i]);
			store_data_remove(st->store, due[i]->id);
			upload_unref(st, due[i]);
		}
	} while (n == EXPIRE_BATCH);
	upload_sweep(st);
	file_expire(st);
}
