#include "fs/stage/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/stage/area_impl.h"
#include "fs/stage/digest.h"
#include "fs/stage/data.h"
#include "fs/stage/staged_impl.h"
#include "fs/stage/follow.h"
#include "fs/stage/hooks.h"
#include "fs/stage/version.h"

/* st->lock is held up to staged_write_begin(), but in begin_change(). */

static bool frozen(const struct staged *st)
{
	return st->sealed || st->fate == STAGED_GIVEN;
}

/* The content of [start, end) has changed. */
static void touch(struct staged *st, uint64_t start, uint64_t end)
{
	uint64_t i;

	if (start >= end)
		return;
	st->changes++;
	for (i = start / st->sg->part_size; i <= (end - 1) / st->sg->part_size; i++)
		st->versions[i]++;
	staged_hash_touch(st, start);
	staged_watch_touch(st, start, end);
}

/* Charge the area for growing to end; fresh as for staging_charge(). */
static int charge(struct staged *st, uint64_t end, uint64_t fresh)
{
	uint64_t growth = end > st->charged ? end - st->charged : 0;
	int rc = 0;

	if (growth || fresh)
		rc = staging_charge(st->sg, growth, fresh);
	if (!rc)
		st->charged += growth;
	return rc;
}

/* Give back unused charge once no write is under way. */
static void settle_charge(struct staged *st)
{
	if (st->writers || st->charged <= st->size)
		return;
	staging_release(st->sg, st->charged - st->size);
	st->charged = st->size;
}

/*
 * Make size and disk agree once no write is under way: a short write may leave bytes beyond the
 * size, and a truncation may overtake the bytes of a write.
 */
static void settle_size(struct staged *st)
{
	uint64_t old = st->size;
	struct stat sb;

	if (st->writers || !st->unsure || fstat(st->fd, &sb))
		return;
	st->unsure = false;
	if ((uint64_t)sb.st_size > st->size && ftruncate(st->fd, (off_t)st->size))
		st->unsure = true;
	/* A file of an earlier daemon has no versions yet for the bytes cut off. */
	if ((uint64_t)sb.st_size < st->size && staged_reserve_versions(st, old)) {
		st->unsure = true;
		return;
	}
	if ((uint64_t)sb.st_size < st->size) {
		st->size = (uint64_t)sb.st_size;
		extents_remove(&st->written, st->size, UINT64_MAX);
		touch(st, st->size, old);
	}
}

static void settle(struct staged *st)
{
	settle_size(st);
	settle_charge(st);
}

/*
 * True if writing [start, end) completes a part that was not covered. The last part is complete
 * when it reaches the size, unless this write moves the size: the file may grow on.
 */
static bool completes_part(const struct staged *st, uint64_t start, uint64_t end)
{
	uint64_t part = st->sg->part_size, at, part_end, lo, hi;

	for (at = start - start % part; at < end; at += part) {
		part_end = at + part;
		lo = start > at ? start : at;
		hi = end < part_end ? end : part_end;
		if (part_end > st->size && hi <= st->size)
			part_end = st->size;
		if (extents_cover(&st->written, lo, hi))
			continue;
		if (extents_cover(&st->written, at, lo) &&
		    extents_cover(&st->written, hi, part_end))
			return true;
	}
	return false;
}

/*
 * Take st->lock for a change of bytes. -EBUSY while frozen: a copy that is being published stays a
 * copy. Another negative errno: the lock is not held either.
 */
static int begin_change(struct staged *st)
{
	int rc;

	pthread_mutex_lock(&st->lock);
	while (staged_is_copy(st) && !frozen(st)) {
		pthread_mutex_unlock(&st->lock);
		rc = staged_disown(st);
		if (rc)
			return rc;
		pthread_mutex_lock(&st->lock);
	}
	rc = frozen(st) ? -EBUSY : 0;
	/* Not before the row is known to tell of it: staged_await_change(). */
	if (!rc && (atomic_load(&st->barrier) || atomic_load(&st->row_stale)))
		rc = -EINPROGRESS;
	if (rc)
		pthread_mutex_unlock(&st->lock);
	return rc;
}

static int begin(struct staged *st, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;
	bool known;
	int rc;

	if (len) {
		rc = staged_reserve_versions(st, end);
		if (rc)
			return rc;
		known = extents_cover(&st->written, off, end);
		rc = charge(st, end, known ? 0 : len);
		if (rc)
			return rc;
	}
	st->writers++;
	return 0;
}

int staged_write_begin(struct staged *st, uint64_t off, uint64_t len, int *ret_fd)
{
	int fd, rc;

	if (off > STAGED_SIZE_MAX || len > STAGED_SIZE_MAX - off)
		return -EFBIG;
	rc = begin_change(st);
	if (rc)
		return rc;
	fd = staged_fd_locked(st);
	rc = fd < 0 ? fd : begin(st, off, len);
	pthread_mutex_unlock(&st->lock);
	if (!rc)
		*ret_fd = fd;
	return rc;
}

void staged_write_end(struct staged *st, uint64_t off, uint64_t len, uint64_t done)
{
	bool filled = false, quiet;

	pthread_mutex_lock(&st->lock);
	if (done) {
		filled = completes_part(st, off, off + done);
		/* Out of memory: the bytes count as unwritten until the seal. */
		extents_add(&st->written, off, off + done);
		if (off + done > st->size)
			st->size = off + done;
	}
	touch(st, off, off + len);
	staged_write_back(st, off, off + done);
	if (done < len)
		st->unsure = true;
	st->writers--;
	settle(st);
	/* Decide before the hook: it drops the lock, and another write may end then. */
	quiet = staged_final(st);
	staged_hash_wake(st);
	if (staged_watch_due(st) || filled)
		staged_call_hook(st, HOOK_FILL);
	if (quiet)
		staged_call_hook(st, HOOK_QUIET);
	pthread_mutex_unlock(&st->lock);
}

static int resize(struct staged *st, uint64_t size)
{
	uint64_t old = st->size;
	int rc;

	/* A file of an earlier daemon has no versions yet for the bytes cut off. */
	rc = staged_reserve_versions(st, size > old ? size : old);
	if (!rc)
		rc = charge(st, size, size > old ? size - old : 0);
	if (rc)
		return rc;
	if (ftruncate(st->fd, (off_t)size)) {
		rc = -errno;
		settle(st);
		return rc;
	}
	st->size = size;
	extents_remove(&st->written, size, UINT64_MAX);
	touch(st, old < size ? old : size, old < size ? size : old);
	/* No byte is left that a failed sync concerns. */
	if (!size && !st->writers)
		st->broken = false;
	if (st->writers)
		st->unsure = true;
	settle(st);
	return 0;
}

int staged_truncate(struct staged *st, uint64_t size)
{
	int rc;

	if (size > STAGED_SIZE_MAX)
		return -EFBIG;
	rc = begin_change(st);
	if (rc)
		return rc;
	rc = staged_fd_locked(st);
	if (rc >= 0)
		rc = resize(st, size);
	pthread_mutex_unlock(&st->lock);
	return rc;
}

/*
 * Space beyond the size is not part of the file: do not charge it. A zeroed range becomes a hole:
 * its writer means to write it later, and its parts should not leave twice.
 */
static int allocate(struct staged *st, int mode, uint64_t off, uint64_t end)
{
	bool zeroes = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
	uint64_t old = st->size, size = old;
	uint64_t fresh = end > old && !(mode & FALLOC_FL_PUNCH_HOLE) ? end - old : 0;
	int rc;

	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > size)
		size = end;
	rc = staged_reserve_versions(st, size);
	if (!rc)
		rc = charge(st, size, fresh);
	if (rc)
		return rc;
	if (zeroes)
		rc = extents_remove(&st->written, off, end);
	if (!rc && fallocate(st->fd, mode, (off_t)off, (off_t)(end - off))) {
		rc = -errno;
		st->unsure = true;
	}
	if (!rc)
		st->size = size;
	/* Touch after a failure, too: part of it may be done. */
	if (zeroes)
		touch(st, off, end < size ? end : size);
	touch(st, old, size);
	settle(st);
	return rc;
}

int staged_check_fallocate(int mode, uint64_t off, uint64_t len)
{
	int op = mode & ~FALLOC_FL_KEEP_SIZE;

	if (op && op != FALLOC_FL_ZERO_RANGE &&
	    mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	if (!len)
		return -EINVAL;
	if (op != FALLOC_FL_PUNCH_HOLE && (off >= STAGED_SIZE_MAX || len > STAGED_SIZE_MAX - off))
		return -EFBIG;
	return 0;
}

int staged_fallocate(struct staged *st, int mode, uint64_t off, uint64_t len)
{
	int rc = staged_check_fallocate(mode, off, len);

	if (rc)
		return rc;
	/* A hole adds nothing: clip it to the limit. */
	if (off >= STAGED_SIZE_MAX)
		return 0;
	if (len > STAGED_SIZE_MAX - off)
		len = STAGED_SIZE_MAX - off;
	rc = begin_change(st);
	if (rc)
		return rc;
	rc = staged_fd_locked(st);
	if (rc >= 0)
		rc = allocate(st, mode, off, off + len);
	pthread_mutex_unlock(&st->lock);
	return rc;
}

bool staged_seal(struct staged *st)
{
	bool quiet;

	pthread_mutex_lock(&st->lock);
	if (!st->sealed) {
		st->sealed = true;
		staged_hash_sealed(st);
	}
	quiet = !st->writers;
	staged_hash_wake(st);
	pthread_mutex_unlock(&st->lock);
	return quiet;
}

void staged_unseal(struct staged *st)
{
	pthread_mutex_lock(&st->lock);
	st->sealed = false;
	/* Holes that counted as zeros may be filled again. */
	staged_watch_touch(st, 0, UINT64_MAX);
	pthread_mutex_unlock(&st->lock);
}

bool staged_sealed_quiet(struct staged *st)
{
	bool ret;

	pthread_mutex_lock(&st->lock);
	ret = staged_final(st);
	pthread_mutex_unlock(&st->lock);
	return ret;
}

uint64_t staged_size(struct staged *st)
{
	uint64_t ret;

	pthread_mutex_lock(&st->lock);
	ret = st->size;
	pthread_mutex_unlock(&st->lock);
	return ret;
}

bool staged_covered(struct staged *st, uint64_t start, uint64_t end)
{
	bool ret;

	pthread_mutex_lock(&st->lock);
	ret = (staged_final(st) && end <= st->size) || extents_cover(&st->written, start, end);
	pthread_mutex_unlock(&st->lock);
	return ret;
}
