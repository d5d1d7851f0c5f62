#include "fs/stage/prefix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/stage/file.h"
#include "fs/stage/hooks.h"
#include "fs/stage/staged_impl.h"

static uint64_t next_end(uint64_t pos, uint64_t step, uint64_t end)
{
	uint64_t at = pos - pos % step + step;

	return at < end ? at : end;
}

uint64_t staged_prefix_stop(const struct staged *st, uint64_t pos, uint64_t end)
{
	const struct staged_prefix *x = &st->prefix;

	end = next_end(pos, st->sg->part_size, end);
	return x->step && !x->differs ? next_end(pos, x->step, end) : end;
}

/* Append md5 if it is the next prefix. Without memory later ones are not noted either. */
static void append(struct staged *st, const unsigned char *md5)
{
	struct staged_prefix *x = &st->prefix;
	uint32_t room = x->room ? x->room * 2 : 4;
	unsigned char(*v)[DIGEST_SIZE];

	if (st->hash.pos / st->sg->part_size != x->count + 1ULL)
		return;
	if (x->count == x->room) {
		v = realloc(x->v, room * sizeof(*v));
		if (!v)
			return;
		x->v = v;
		x->room = room;
	}
	memcpy(x->v[x->count++], md5, DIGEST_SIZE);
}

static unsigned digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* The MD5 of what was hashed so far. 0 or negative errno. */
static int md5_now(const struct staged *st, unsigned char ret[DIGEST_SIZE])
{
	char hex[DIGEST_HEX_SIZE];
	int rc = st->hash.cur ? digest_hex(st->hash.cur, hex) : -EAGAIN;

	for (unsigned i = 0; !rc && i < DIGEST_SIZE; i++)
		ret[i] = (unsigned char)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
	return rc;
}

static bool is_end(uint64_t pos, uint64_t step)
{
	return pos && step && pos % step == 0;
}

void staged_prefix_note(struct staged *st)
{
	struct staged_prefix *x = &st->prefix;
	uint64_t pos = st->hash.pos, n = is_end(pos, x->step) ? pos / x->step : 0;
	bool own = is_end(pos, st->sg->part_size);
	unsigned char md5[DIGEST_SIZE];

	if ((!own && !n) || md5_now(st, md5))
		return;
	if (own)
		append(st, md5);
	if (!n || n > x->known_count || x->differs || !memcmp(x->known[n - 1], md5, DIGEST_SIZE))
		return;
	x->differs = true;
	staged_call_hook(st, HOOK_FILL);
}

void staged_prefix_cut(struct staged *st, uint64_t pos)
{
	uint64_t count = pos / st->sg->part_size;

	if (st->prefix.count > count)
		st->prefix.count = (uint32_t)count;
}

void staged_prefix_release(struct staged *st)
{
	free(st->prefix.v);
	free(st->prefix.known);
}

/* The last prefix that both have noted tells of all before it. Under lock. */
static bool differs_so_far(const struct staged *st)
{
	const struct staged_prefix *x = &st->prefix;
	uint64_t n = x->count < x->known_count ? x->count : x->known_count;

	return n && x->step == st->sg->part_size &&
	       memcmp(x->v[n - 1], x->known[n - 1], DIGEST_SIZE) != 0;
}

int staged_expect(struct staged *st, uint64_t step, const unsigned char *prefixes, uint64_t count)
{
	unsigned char(*known)[DIGEST_SIZE] = step ? malloc((count + 1) * DIGEST_SIZE) : NULL;

	if (step && !known)
		return -ENOMEM;
	if (count && step)
		memcpy(known, prefixes, count * DIGEST_SIZE);
	pthread_mutex_lock(&st->lock);
	free(st->prefix.known);
	st->prefix.known = known;
	st->prefix.known_count = step ? count : 0;
	st->prefix.step = step;
	st->prefix.differs = differs_so_far(st);
	pthread_mutex_unlock(&st->lock);
	return 0;
}

bool staged_differs(struct staged *st)
{
	bool ret;

	pthread_mutex_lock(&st->lock);
	ret = st->prefix.differs;
	pthread_mutex_unlock(&st->lock);
	return ret;
}

int staged_prefixes(struct staged *st, uint64_t *ret_step, unsigned char **ret, size_t *ret_count)
{
	int rc = -ENOMEM;

	pthread_mutex_lock(&st->lock);
	*ret = malloc((st->prefix.count + 1ULL) * DIGEST_SIZE);
	if (*ret) {
		rc = 0;
		*ret_step = st->sg->part_size;
		*ret_count = st->prefix.count;
		if (st->prefix.count)
			memcpy(*ret, st->prefix.v, st->prefix.count * (size_t)DIGEST_SIZE);
	}
	pthread_mutex_unlock(&st->lock);
	return rc;
}
