/*
 * The versions of a staged file: each grows whenever bytes of its part change.
 */
#include "fs/stage/version.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/stage/area_impl.h"
#include "fs/stage/file.h"
#include "fs/stage/staged_impl.h"

/*
 * Make room before the bytes land: the end of a write cannot fail.
 */
int staged_reserve_versions(struct staged *st, uint64_t end)
{
	uint64_t want = end ? (end - 1) / st->sg->part_size + 1 : 0;
	uint64_t most = (STAGED_SIZE_MAX - 1) / st->sg->part_size + 1;
	uint32_t *v;

	if (want <= st->version_count)
		return 0;
	want = want + want / 2 + 8;
	if (want > most)
		want = most;
	v = realloc(st->versions, want * sizeof(*v));
	if (!v)
		return -ENOMEM;
	memset(v + st->version_count, 0, (want - st->version_count) * sizeof(*v));
	st->versions = v;
	st->version_count = (uint32_t)want;
	return 0;
}

uint32_t staged_version_locked(const struct staged *st, uint64_t start, uint64_t end)
{
	uint64_t part = st->sg->part_size, i;
	uint32_t ret = 0;

	/* Each version only grows, so their sum shows a change of any. */
	for (i = start / part; i * part < end && i < st->version_count; i++)
		ret += st->versions[i];
	return ret;
}

uint32_t staged_version(struct staged *st, uint64_t start, uint64_t end)
{
	uint32_t ret;

	pthread_mutex_lock(&st->lock);
	ret = staged_version_locked(st, start, end);
	pthread_mutex_unlock(&st->lock);
	return ret;
}
