#include "fs/stage/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/stage/area_impl.h"
#include "fs/stage/data.h"
#include "fs/stage/digest.h"
#include "fs/stage/staged_impl.h"
#include "fs/state/files.h"
#include "fs/state/store.h"
#include "net/base/fdio.h"
#include "net/base/log.h"

static struct staged *staged_new(struct staging *sg, const char *id, int fd, enum staged_fate fate)
{
	struct staged *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->sg = sg;
	memcpy(st->id, id, sizeof(st->id));
	st->fd = fd;
	st->fate = fate;
	atomic_init(&st->refs, 1);
	st->changes = 1;
	snprintf(st->era, sizeof(st->era), "%s", datadir_era(sg->data));
	pthread_mutex_init(&st->record_lock, NULL);
	pthread_mutex_init(&st->sync_lock, NULL);
	pthread_mutex_init(&st->lock, NULL);
	pthread_cond_init(&st->hooks_idle, NULL);
	extents_init(&st->written);
	staged_hash_init(st);
	staging_count(sg, 1);
	return st;
}

int staged_create(struct staging *sg, struct staged **ret)
{
	char id[DATA_ID_SIZE];
	struct staged *st;
	int fd = -1, rc;

	rc = datadir_create(sg->data, id, &fd);
	if (rc)
		return rc;
	st = staged_new(sg, id, fd, STAGED_DISCARD);
	if (!st) {
		datadir_unmake(sg->data, id);
		close(fd);
		return -ENOMEM;
	}
	*ret = st;
	return 0;
}

/*
 * With less data than was synced, publishing would cut the file. Other data is compared with the
 * MD5 of its row. An open file may have become shorter since its last record.
 */
static bool size_plausible(const struct record *r, uint64_t size)
{
	if (!r->synced)
		return true;
	switch (r->state) {
	case RECORD_WRITING:
	case RECORD_ABORTED:
	case RECORD_EMPTY:
	case RECORD_REMOVED:
		return true;
	case RECORD_HELD:
	case RECORD_SEALED:
	case RECORD_COMPLETING:
	case RECORD_COMPLETED:
	case RECORD_FAILED:
		break;
	}
	return size >= r->size;
}

/* The size of the data, which is opened at its first use. -ENOENT: no data. */
static int find_data(struct staging *sg, const char *id, const struct record *r, uint64_t *ret_size)
{
	char name[DATA_NAME_SIZE];
	struct stat sb;

	data_name(name, id);
	if (fstatat(datadir_fd(sg->data), name, &sb, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (!S_ISREG(sb.st_mode) || (uint64_t)sb.st_size > STAGED_SIZE_MAX ||
	    !size_plausible(r, (uint64_t)sb.st_size))
		return -EBADMSG;
	*ret_size = (uint64_t)sb.st_size;
	return 0;
}

/*
 * The row of a closed file without data still counts: its File may exist, or Files it replaces are
 * to be deleted, or it was empty.
 */
static bool row_counts(const struct record *r)
{
	return r->state == RECORD_REMOVED || r->state == RECORD_EMPTY ||
	       r->state == RECORD_COMPLETED || (r->state == RECORD_COMPLETING && !r->synced);
}

/*
 * Bytes that were to replace a File and that no sync had promised: the File stays what the name is,
 * as if nothing had been written. Bytes in doubt may be a File all the same.
 */
static bool gives_way(const struct record *r)
{
	bool unmade = r->state == RECORD_WRITING || r->state == RECORD_ABORTED ||
		      r->state == RECORD_HELD || r->state == RECORD_SEALED;

	return unmade && r->superseded_count && !r->synced && !r->in_doubt && !r->file_id;
}

/* The row is removed, or aborted and supersedes nothing, from this commit on. */
static int give_up_bytes(struct staging *sg, const char *id, struct record *r)
{
	bool removed = gives_way(r);
	int rc;

	if (removed)
		log_warn("%s/%s: nothing is left of bytes that were not synced; the File that they "
			 "were to replace stays",
			 r->purpose, r->path);
	r->state = removed ? RECORD_REMOVED : RECORD_ABORTED;
	r->synced = false;
	r->size = 0;
	for (size_t i = 0; i < r->superseded_count; i++)
		free(r->superseded[i]);
	r->superseded_count = 0;
	rc = statedb_begin_freeing(sg->db);
	if (rc)
		return rc;
	files_save(sg->db, id, r);
	if (removed)
		files_set_removed(sg->db, id);
	return statedb_commit(sg->db, NULL);
}

/*
 * A row without data, after a crash between two steps, a power cut or a removal by hand: it must
 * not replace a File.
 */
static int without_data(struct staging *sg, const char *id, struct record *r)
{
	int fd, rc;

	if (r->state == RECORD_COMPLETED && !r->superseded_count) {
		/* Nothing is lost: its File exists. */
		rc = statedb_begin_freeing(sg->db);
		if (rc)
			return rc;
		files_drop(sg->db, id);
		rc = statedb_commit(sg->db, NULL);
		return rc ? rc : -ENOENT;
	}
	rc = row_counts(r) ? 0 : give_up_bytes(sg, id, r);
	if (rc)
		return rc;
	fd = datadir_open_file(sg->data, id, O_RDWR | O_CREAT | O_EXCL);
	if (fd < 0)
		return fdio_told(fd);
	close(fd);
	/* The MD5 of the row will show that these are not its bytes. */
	r->synced = false;
	return 0;
}

/* Closed bytes that nobody can tell from others are those of a writer that was cut off. */
static void distrust(struct record *r, uint64_t size)
{
	bool closed =
		r->state == RECORD_HELD || r->state == RECORD_SEALED || r->state == RECORD_FAILED;

	if ((closed && !r->synced && !r->md5) || (r->state == RECORD_EMPTY && size))
		r->state = RECORD_ABORTED;
}

int staged_open(struct staging *sg, const char *id, struct record *ret_record, struct staged **ret)
{
	struct staged *st;
	struct record r;
	uint64_t size = 0;
	int rc;

	if (!data_id_valid(id))
		return -EINVAL;
	rc = files_load(sg->db, id, &r);
	if (rc)
		return rc;
	rc = find_data(sg, id, &r, &size);
	if (rc == -ENOENT)
		rc = without_data(sg, id, &r);
	if (rc)
		goto err_record;
	st = staged_new(sg, id, -1, STAGED_KEEP);
	if (!st) {
		rc = -ENOMEM;
		goto err_record;
	}
	distrust(&r, size);
	st->has_row = true;
	atomic_store(&st->copy, r.copy);
	if (r.copy && r.moved && !(st->moved = strdup(r.moved))) {
		rc = -ENOMEM;
		goto err_staged;
	}
	/* An earlier daemon may have written it without a sync. */
	atomic_store(&st->saved, statedb_seq(sg->db));
	rc = extents_add(&st->written, 0, size);
	if (rc)
		goto err_staged;
	/* Count bytes that exist already, even past the maximum. */
	st->size = st->charged = size;
	st->synced = r.synced ? st->changes : 0;
	st->firm = r.synced;
	snprintf(st->era, sizeof(st->era), "%s", r.era ? r.era : "");
	staging_adopt(sg, size);
	*ret_record = r;
	*ret = st;
	return 0;
err_staged:
	staged_unref(st);
err_record:
	record_release(&r);
	return rc;
}

struct staged *staged_ref(struct staged *st)
{
	atomic_fetch_add_explicit(&st->refs, 1, memory_order_relaxed);
	return st;
}

/* Remove the row, then the data. Under record_lock, or at the last unref. */
static void remove_both(struct staged *st)
{
	int rc;

	if (!st->has_row) {
		datadir_unmake(st->sg->data, st->id);
		return;
	}
	rc = statedb_begin_freeing(st->sg->db);
	if (!rc) {
		files_doom(st->sg->db, st->id);
		rc = statedb_commit(st->sg->db, NULL);
	}
	/* Keep the data: the next mount finds the file, which is better than a row without data. */
	if (rc)
		log_warn(DATA_DIR "/%s can't be removed: %s", st->id, strerror(-rc));
	else
		datadir_doom(st->sg->data, st->id);
	st->has_row = false;
}

void staged_unref(struct staged *st)
{
	if (!st || atomic_fetch_sub_explicit(&st->refs, 1, memory_order_acq_rel) != 1)
		return;
	staged_hash_release(st);
	staged_end_write_back(st);
	if (st->fate == STAGED_DISCARD && !st->removed)
		remove_both(st);
	if (st->fd >= 0)
		close(st->fd);
	staging_release(st->sg, st->charged);
	if (st->fate != STAGED_GIVEN)
		staging_count(st->sg, -1);
	extents_release(&st->written);
	free(st->versions);
	free(st->moved);
	pthread_cond_destroy(&st->hooks_idle);
	pthread_mutex_destroy(&st->lock);
	pthread_mutex_destroy(&st->sync_lock);
	pthread_mutex_destroy(&st->record_lock);
	free(st);
}

const char *staged_id(const struct staged *st)
{
	return st->id;
}

static void set_fate(struct staged *st, enum staged_fate fate)
{
	pthread_mutex_lock(&st->lock);
	if (st->fate != STAGED_GIVEN)
		st->fate = fate;
	pthread_mutex_unlock(&st->lock);
}

void staged_keep(struct staged *st)
{
	set_fate(st, STAGED_KEEP);
}

void staged_remove(struct staged *st)
{
	bool now;

	pthread_mutex_lock(&st->record_lock);
	pthread_mutex_lock(&st->lock);
	now = st->fate != STAGED_GIVEN && !st->removed;
	if (now) {
		/* Open handles read and write on: keep the descriptor, the only way to it. */
		if (atomic_load(&st->refs) > 1)
			staged_fd_locked(st);
		st->fate = STAGED_DISCARD;
		st->removed = true;
	}
	pthread_mutex_unlock(&st->lock);
	if (now)
		remove_both(st);
	pthread_mutex_unlock(&st->record_lock);
}

/* Under both locks. */
static int give(struct staged *st, int (*take)(void *arg, const char *data), void *arg)
{
	int rc;

	if (st->fate == STAGED_GIVEN || st->removed)
		return -ESTALE;
	if (st->spoiled || st->broken)
		return -EBADMSG;
	if (st->writers)
		return -EBUSY;
	/* The other may unlink it: readers need the descriptor. */
	rc = staged_fd_locked(st);
	if (rc < 0)
		return rc;
	rc = take(arg, st->id);
	if (rc)
		return rc;
	st->has_row = false;
	st->fate = STAGED_GIVEN;
	staging_release(st->sg, st->charged);
	st->charged = 0;
	staging_count(st->sg, -1);
	return 0;
}

int staged_give(struct staged *st, int (*take)(void *arg, const char *data), void *arg)
{
	int rc;

	pthread_mutex_lock(&st->record_lock);
	pthread_mutex_lock(&st->lock);
	rc = give(st, take, arg);
	pthread_mutex_unlock(&st->lock);
	pthread_mutex_unlock(&st->record_lock);
	return rc;
}
