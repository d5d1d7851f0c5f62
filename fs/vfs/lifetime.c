/*
 * Lifetimes of new Files.
 */
#include "fs/vfs/lifetime.h"

#include <string.h>

#include "fs/publish/publisher.h"
#include "fs/tree/inode.h"
#include "fs/tree/names.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "net/api/api.h"
#include "net/base/log.h"

/* Seconds; 0: i is no File, or one that stays, or lives as long as its purpose says by itself. */
static uint64_t lifetime_of(const struct inode *i)
{
	int64_t s = i->expires_at - i->created_at;

	if (!i->file_id || !i->expires_at || s <= 0)
		return 0;
	/* The service may count from the Upload. */
	if (s < API_EXPIRY_MIN_S)
		s = API_EXPIRY_MIN_S;
	if (s >= API_EXPIRY_MAX_S)
		s = API_EXPIRY_MAX_S;
	return s == API_EXPIRY_MAX_S && !strcmp(i->purpose, "batch") ? 0 : (uint64_t)s;
}

void lifetime_begin(struct vfs *s, struct inode *i)
{
	char target[NAMES_MAX + 1];
	uint64_t seconds = lifetime_of(i);
	const struct inode *other = NULL;

	/* Its rename is going to replace that one; known now, its Upload need not begin anew. */
	if (!seconds && i->parent && names_temporary(i->name, target))
		other = inode_find(s->table, i->parent, target);
	if (other && other->kind == INODE_FILE)
		seconds = lifetime_of(other);
	if (!seconds)
		seconds = s->cfg.expires_after;
	if (seconds && publish_set_expiry(i->side->pub, seconds))
		log_error("%s/%s: its lifetime is not set", i->purpose, i->name);
}

void lifetime_take(struct inode *i, const struct inode *other)
{
	uint64_t seconds = lifetime_of(other);

	if (seconds && !i->side->expiry_set && publish_set_expiry(i->side->pub, seconds))
		log_error("%s/%s: its lifetime is not set", i->purpose, i->name);
}
