#include "fs/stage/check.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/stage/digest.h"
#include "fs/stage/file.h"
#include "fs/stage/staged_impl.h"

bool staged_check_snapshot(struct staged *st, uint64_t i)
{
	struct staged_lines *c = &st->check;

	if (!c->on)
		return true;
	if (!c->snaps)
		c->snaps = calloc(STAGED_SNAPSHOTS, sizeof(*c->snaps));
	if (!c->snaps)
		return false;
	c->snaps[i] = c->lines;
	return true;
}

void staged_check_rewind(struct staged *st, uint64_t i)
{
	struct staged_lines *c = &st->check;

	if (i && c->snaps)
		c->lines = c->snaps[i];
	else
		jsonl_init(&c->lines);
}

void staged_check_release(struct staged *st)
{
	free(st->check.snaps);
}

int staged_fault(struct staged *st, char ret_text[JSONL_TEXT_SIZE])
{
	const struct staged_hash *h = &st->hash;
	struct jsonl lines;
	int rc = 0;

	pthread_mutex_lock(&st->lock);
	if (st->check.on && (h->err || h->busy || h->pos != st->size))
		rc = h->err ? h->err : -EAGAIN;
	else
		lines = st->check.lines; /* no worker has it */
	if (!rc && st->check.on && !jsonl_end(&lines))
		rc = -EINVAL;
	pthread_mutex_unlock(&st->lock);
	if (rc == -EINVAL)
		jsonl_text(&lines, ret_text);
	return rc;
}
