/* complete: an Upload becomes a File; see uploads.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "net/base/digest.h"
#include "net/base/log.h"
#include "net/server/ahead.h"
#include "net/server/files.h"
#include "net/server/flavor.h"
#include "net/server/store.h"
#include "net/server/uploads.h"

/* Check the order for a service that numbers Parts as they begin. last: the final Part listed. */
static int check_sequence(const struct part *part, const struct part *before, bool last,
			  struct refusal *r)
{
	if (before && part->number <= before->number)
		return refuse(r, 400, "part_ids", NULL,
			      "The list of parts was not in ascending order: %s.", part->id);
	if (!last && part->bytes < FLAVOR_PART_MIN)
		return refuse(r, 400, "part_ids", NULL,
			      "Part %s is smaller than the minimum of %llu bytes.", part->id,
			      (unsigned long long)FLAVOR_PART_MIN);
	return 0;
}

/* Copy the listed Parts, in order, to f->parts. The Upload is busy. Under lock. */
static int resolve_parts(const struct state *st, const struct upload *up,
			 const struct complete_spec *spec, struct refusal *r, struct file *f)
{
	struct map known = { 0 }, seen = { 0 };
	const struct part *part, *before = NULL;
	size_t i;
	int err = 0;

	for (i = 0; i < up->part_count && !err; i++) {
		if (up->parts[i]->finished)
			err = map_put(&known, up->parts[i]->id, up->parts[i]);
	}
	for (i = 0; i < spec->part_count && !err; i++) {
		part = map_get(&known, spec->part_ids[i]);
		if (!part) {
			err = refuse(r, 400, "part_ids", NULL, "No such Part in Upload %s: %.100s",
				     up->id, spec->part_ids[i]);
			break;
		}
		err = map_put(&seen, part->id, f);
		if (err == -EEXIST)
			err = refuse(r, 400, "part_ids", NULL, "Part %s is listed twice.",
				     part->id);
		if (!err && st->in_sequence)
			err = check_sequence(part, before, i + 1 == spec->part_count, r);
		before = part;
		snprintf(f->parts[i].id, ID_SIZE, "%s", part->id);
		f->parts[i].bytes = part->bytes;
		f->bytes += part->bytes;
	}
	map_release(&known);
	map_release(&seen);
	return err;
}

static int check_md5(struct state *st, struct upload *up, const struct file *f, const char *md5,
		     struct refusal *r)
{
	char hex[DIGEST_HEX_SIZE];
	int err;

	if (store_forgets(st->store))
		return 0;
	err = ahead_digest(st, up, f, hex);
	if (err || !strcasecmp(hex, md5))
		return err;
	return refuse(r, 400, "md5", NULL,
		      "The md5 checksum of the uploaded bytes is %s, not the one given.", hex);
}

static int sync_parts(struct store *store, const struct file *f)
{
	size_t i;
	int err = 0;

	for (i = 0; i < f->part_count && !err; i++)
		err = store_part_sync(store, f->data, f->parts[i].id);
	return err ? err : store_owner_sync(store, f->data);
}

/* Make the File of a busy Upload, in memory only. */
static int make_file(struct state *st, struct upload *up, const struct complete_spec *spec,
		     struct refusal *r, struct file **ret)
{
	struct file *f = file_new(up->filename, up->purpose, spec->part_count);
	int err;

	if (!f)
		return -ENOMEM;
	snprintf(f->data, sizeof(f->data), "%s", up->id);
	snprintf(f->upload_id, sizeof(f->upload_id), "%s", up->id);
	f->created_at = up->created_at;
	if (up->expires_after_s)
		f->expires_at = up->created_at + (int64_t)up->expires_after_s;
	pthread_mutex_lock(&st->lock);
	err = resolve_parts(st, up, spec, r, f);
	pthread_mutex_unlock(&st->lock);
	if (!err && f->bytes != up->bytes)
		err = refuse(r, 400, NULL, NULL,
			     "The Parts hold %llu bytes, but the Upload was created with %llu.",
			     (unsigned long long)f->bytes, (unsigned long long)up->bytes);
	if (!err && spec->md5)
		err = check_md5(st, up, f, spec->md5, r);
	if (!err)
		err = sync_parts(st->store, f);
	if (!err)
		err = id_new(ID_FILE, f->id);
	if (err)
		file_free(f);
	else
		*ret = f;
	return err;
}

struct unlisted_walk {
	struct store *store;
	const struct file *f;
	struct map listed;
};

static int remove_unlisted(void *arg, const char *id, uint64_t bytes, struct timespec mtime)
{
	struct unlisted_walk *walk = arg;

	(void)bytes;
	(void)mtime;
	if (!map_get(&walk->listed, id))
		store_part_remove(walk->store, walk->f->data, id, true);
	return 0;
}

void upload_remove_unlisted(struct store *store, const struct file *f)
{
	struct unlisted_walk walk = { .store = store, .f = f };
	size_t i;
	int err = 0;

	for (i = 0; i < f->part_count && !err; i++)
		err = map_put(&walk.listed, f->parts[i].id, &f->parts[i]);
	if (!err)
		store_part_each(store, f->data, remove_unlisted, &walk);
	map_release(&walk.listed);
}

int upload_complete(struct state *st, const char *id, const struct complete_spec *spec,
		    struct refusal *r, struct upload **ret_up, struct file **ret_file)
{
	struct upload *up;
	struct file *f;
	int err = upload_acquire(st, id, r, &up);

	if (err)
		return err;
	err = make_file(st, up, spec, r, &f);
	if (err)
		goto fail;
	err = file_commit(st, f);
	if (err)
		goto fail_file;
	pthread_mutex_lock(&st->lock);
	snprintf(up->file_id, sizeof(up->file_id), "%s", f->id);
	upload_end(st, up, UPLOAD_COMPLETED);
	pthread_mutex_unlock(&st->lock);
	/* Parts go before the record: while it says pending, the next start tidies up. */
	upload_remove_unlisted(st->store, f);
	if (upload_save_end(st, up))
		log_warn("record of %s not updated; the next start will", up->id);
	*ret_up = up;
	*ret_file = f;
	return 0;
fail_file:
	file_free(f);
fail:
	upload_release(st, up);
	return err;
}
