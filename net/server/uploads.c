/* uploads: see uploads.h. */
#include "net/server/uploads.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/clock.h"
#include "net/base/log.h"
#include "net/server/files.h"
#include "net/server/flavor.h"
#include "net/server/store.h"

#define RECORD_MAX (1u << 20)

/* Make room for one more element. NULL: out of memory, and the array is unchanged. */
static void *grow(void *array, size_t *room, size_t count, size_t size)
{
	size_t want = *room ? *room * 2 : 8;
	void *next;

	if (count < *room)
		return array;
	next = realloc(array, want * size);
	if (next)
		*room = want;
	return next;
}

static int save(struct state *st, const struct upload *up)
{
	struct buf text;
	int err;

	buf_init(&text, RECORD_MAX);
	upload_record(&text, up);
	err = store_record_write(st->store, STORE_UPLOADS, up->id, &text, false);
	buf_release(&text);
	return err;
}

int upload_index(struct state *st, struct upload *up)
{
	struct upload **pending;
	int err;

	pending = grow(st->pending, &st->pending_room, st->pending_count, sizeof(*pending));
	if (!pending)
		return -ENOMEM;
	st->pending = pending;
	err = map_put(&st->uploads, up->id, up);
	if (!err && up->status == UPLOAD_PENDING)
		st->pending[st->pending_count++] = up;
	return err;
}

static int upload_fill(struct state *st, const struct upload_spec *spec, struct upload *up)
{
	int err = id_new(ID_UPLOAD, up->id);

	up->filename = strdup(spec->filename);
	up->purpose = strdup(spec->purpose);
	up->mime_type = strdup(spec->mime_type);
	up->refs = 1;
	up->bytes = spec->bytes;
	up->expires_after_s = spec->expires_after_s;
	up->created_at = clock_wall_s();
	up->expires_at = up->created_at + st->ttl_s;
	if (!up->filename || !up->purpose || !up->mime_type)
		return -ENOMEM;
	return err;
}

int upload_create(struct state *st, const struct upload_spec *spec, struct upload **ret)
{
	struct upload *up = calloc(1, sizeof(*up));
	int err;

	if (!up)
		return -ENOMEM;
	err = upload_fill(st, spec, up);
	if (err)
		goto fail;
	err = store_data_make(st->store, up->id);
	if (err)
		goto fail;
	err = save(st, up);
	if (err)
		goto fail_data;
	pthread_mutex_lock(&st->lock);
	err = upload_index(st, up);
	pthread_mutex_unlock(&st->lock);
	if (err)
		goto fail_record;
	*ret = up;
	return 0;
fail_record:
	store_record_remove(st->store, STORE_UPLOADS, up->id);
fail_data:
	store_data_remove(st->store, up->id);
fail:
	upload_free(up);
	return err;
}

/* An ended Upload, from its record. NULL: none. Under lock. */
static struct upload *recall(struct state *st, const char *id)
{
	struct upload *up = NULL;
	struct buf text;

	if (!id_valid(id, ID_UPLOAD))
		return NULL;
	buf_init(&text, RECORD_MAX);
	/* A pending one is about to be made. */
	if (store_record_read(st->store, STORE_UPLOADS, id, &text) == 0 &&
	    upload_parse(id, buf_str(&text), text.len, &up) == 0 &&
	    (up->status == UPLOAD_PENDING || upload_index(st, up))) {
		upload_free(up);
		up = NULL;
	}
	buf_release(&text);
	return up;
}

/* Find an Upload and reference it. NULL: none. Under lock. */
static struct upload *get(struct state *st, const char *id)
{
	struct upload *up = map_get(&st->uploads, id);

	if (!up)
		up = recall(st, id);
	if (up)
		up->refs++;
	return up;
}

static bool has_left(const struct upload *up)
{
	return !up->refs && up->status != UPLOAD_PENDING && !up->hashing && !up->unsaved;
}

/* Under lock. */
static void forget_unused(struct state *st, struct upload *up)
{
	if (!has_left(up))
		return;
	map_del(&st->uploads, up->id);
	upload_free(up);
}

/* Under lock. */
static void put(struct state *st, struct upload *up)
{
	up->refs--;
	forget_unused(st, up);
}

struct upload *upload_find(struct state *st, const char *id)
{
	struct upload *up;

	pthread_mutex_lock(&st->lock);
	up = get(st, id);
	pthread_mutex_unlock(&st->lock);
	return up;
}

void upload_unref(struct state *st, struct upload *up)
{
	if (!up)
		return;
	pthread_mutex_lock(&st->lock);
	put(st, up);
	pthread_mutex_unlock(&st->lock);
}

void upload_sweep(struct state *st)
{
	struct upload *up;
	size_t pos;

	pthread_mutex_lock(&st->lock);
	do {
		pos = 0;
		while ((up = map_each(&st->uploads, &pos)) && !has_left(up))
			;
		if (up)
			forget_unused(st, up);
	} while (up);
	pthread_mutex_unlock(&st->lock);
}

static int not_found(struct refusal *r, const char *id)
{
	return refuse(r, 404, "upload_id", NULL, "No such Upload object: %.100s", id);
}

/* Wait until no request works on the Upload, then require it to be pending. Under lock. */
static int await_pending(struct state *st, struct upload *up, struct refusal *r)
{
	while (up->busy && !atomic_load(&st->stopping))
		pthread_cond_wait(&st->changed, &st->lock);
	if (up->busy)
		return -ECANCELED;
	if (up->status == UPLOAD_EXPIRED ||
	    (up->status == UPLOAD_PENDING && clock_wall_s() >= up->expires_at))
		return refuse_state(r, "Upload %s has expired.", up->id);
	if (up->status != UPLOAD_PENDING)
		return refuse_state(r, "Upload %s is already %s.", up->id,
				    upload_status_name(up->status));
	return 0;
}

static int add_part(struct upload *up, const char *id, struct part **ret)
{
	struct part *part, **parts;

	parts = grow(up->parts, &up->part_room, up->part_count, sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	up->parts = parts;
	part = calloc(1, sizeof(*part));
	if (!part)
		return -ENOMEM;
	snprintf(part->id, sizeof(part->id), "%s", id);
	part->number = ++up->numbers;
	up->parts[up->part_count++] = part;
	*ret = part;
	return 0;
}

int upload_adopt_part(struct upload *up, const char *id, uint64_t bytes)
{
	struct part *part;
	int err = add_part(up, id, &part);

	if (err)
		return err;
	part->bytes = bytes;
	part->finished = true;
	return 0;
}

static void forget_part(struct upload *up, struct part *part)
{
	size_t i;

	for (i = 0; i < up->part_count && up->parts[i] != part; i++)
		;
	if (i < up->part_count) {
		up->part_count--;
		memmove(up->parts + i, up->parts + i + 1,
			(up->part_count - i) * sizeof(*up->parts));
	}
	part_free(part);
}

/* With the lock held. */
static int part_begin(struct state *st, struct upload *up, struct refusal *r, struct receipt *rc)
{
	char id[ID_SIZE];
	int err = await_pending(st, up, r);

	if (err)
		return err;
	if (up->part_count >= SERVER_PARTS_MAX)
		return refuse(r, 400, NULL, NULL, "Upload %s has too many Parts.", up->id);
	err = id_new(ID_PART, id);
	if (!err)
		err = add_part(up, id, &rc->part);
	if (err)
		return err;
	err = sink_open(&rc->sink, st->store, up->id, id, SERVER_PART_MAX);
	if (err)
		forget_part(up, rc->part);
	return err;
}

int upload_part_begin(struct state *st, const char *upload_id, struct refusal *r,
		      struct receipt *ret)
{
	struct receipt rc = { .st = st };
	int err;

	pthread_mutex_lock(&st->lock);
	rc.up = get(st, upload_id);
	err = rc.up ? part_begin(st, rc.up, r, &rc) : not_found(r, upload_id);
	if (err && rc.up)
		put(st, rc.up);
	pthread_mutex_unlock(&st->lock);
	if (!err)
		*ret = rc;
	return err;
}

/* Move part to its name's place in the guessed order. Under lock. */
static void reorder(struct upload *up, struct part *part)
{
	/* Leave Parts that are hashed or being hashed where they are. */
	size_t floor = up->hashed + up->hashing, i, at = up->part_count;

	for (i = 0; i < up->part_count && up->parts[i] != part; i++)
		;
	memmove(up->parts + i, up->parts + i + 1, (up->part_count - i - 1) * sizeof(*up->parts));
	while (--at > floor && strcmp(up->parts[at - 1]->name, part->name) > 0)
		up->parts[at] = up->parts[at - 1];
	up->parts[at] = part;
}

void upload_part_name(struct receipt *rc, const char *filename)
{
	struct upload *up = rc->up;
	struct part *part = rc->part;
	size_t i;

	pthread_mutex_lock(&rc->st->lock);
	snprintf(part->name, sizeof(part->name), "%s", filename);
	part->ordered = true;
	for (i = 0; i < up->part_count; i++) {
		struct part *other = up->parts[i];

		if (other == part || other->finished || !other->named ||
		    strcmp(other->name, part->name))
			continue;
		other->ordered = false;
		part->ordered = false;
	}
	part->named = true;
	reorder(up, part);
	pthread_mutex_unlock(&rc->st->lock);
}

int upload_part_finish(struct receipt *rc, struct refusal *r)
{
	struct state *st = rc->st;
	int err;

	pthread_mutex_lock(&st->lock);
	err = await_pending(st, rc->up, r);
	if (!err && st->in_sequence && rc->part->number != rc->up->numbers)
		err = refuse(r, 400, NULL, NULL,
			     "Another Part overtook this one: send them one after the other.");
	if (!err)
		err = sink_commit(&rc->sink);
	if (!err) {
		rc->part->bytes = rc->sink.bytes;
		rc->part->finished = true;
		rc->part = NULL;
		pthread_cond_broadcast(&st->changed);
		put(st, rc->up);
	}
	pthread_mutex_unlock(&st->lock);
	if (err)
		upload_part_abort(rc);
	return err;
}

void upload_part_abort(struct receipt *rc)
{
	if (!rc->part)
		return;
	sink_abort(&rc->sink);
	pthread_mutex_lock(&rc->st->lock);
	forget_part(rc->up, rc->part);
	put(rc->st, rc->up);
	pthread_mutex_unlock(&rc->st->lock);
	rc->part = NULL;
}

void upload_end(struct state *st, struct upload *up, enum upload_status status)
{
	size_t i;

	for (i = 0; i < st->pending_count; i++) {
		if (st->pending[i] == up) {
			st->pending[i] = st->pending[--st->pending_count];
			break;
		}
	}
	up->status = status;
	up->busy = false;
	upload_drop_parts(up);
	pthread_cond_broadcast(&st->changed);
}

/* Ends upload_acquire(). */
void upload_release(struct state *st, struct upload *up)
{
	pthread_mutex_lock(&st->lock);
	up->busy = false;
	pthread_cond_broadcast(&st->changed);
	put(st, up);
	pthread_mutex_unlock(&st->lock);
}

int upload_acquire(struct state *st, const char *id, struct refusal *r, struct upload **ret)
{
	struct upload *up;
	int err;

	pthread_mutex_lock(&st->lock);
	up = get(st, id);
	err = up ? await_pending(st, up, r) : not_found(r, id);
	if (!err) {
		up->busy = true;
		*ret = up;
	} else if (up) {
		put(st, up);
	}
	pthread_mutex_unlock(&st->lock);
	return err;
}

int upload_save_end(struct state *st, struct upload *up)
{
	int err = save(st, up);

	if (err) {
		pthread_mutex_lock(&st->lock);
		up->unsaved = true;
		pthread_mutex_unlock(&st->lock);
	}
	return err;
}

int upload_cancel(struct state *st, const char *id, struct refusal *r, struct upload **ret)
{
	struct upload *up;
	int err = upload_acquire(st, id, r, &up);

	if (err)
		return err;
	pthread_mutex_lock(&st->lock);
	upload_end(st, up, UPLOAD_CANCELLED);
	pthread_mutex_unlock(&st->lock);
	/* No request changes the record after the Upload has ended. */
	err = upload_save_end(st, up);
	store_data_remove(st->store, up->id);
	if (err)
		upload_unref(st, up);
	else
		*ret = up;
	return err;
}
