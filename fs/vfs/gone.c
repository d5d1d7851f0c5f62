/*
 * Files deleted, or about to be, that a listing may still name.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/vfs/gone.h"
#include "fs/remote/errmap.h"
#include "fs/tree/inode.h"
#include "fs/vfs/attrs_kept.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "net/api/api.h"
#include "net/base/clock.h"
#include "net/base/log.h"
#include "net/base/strhash.h"

struct gone {
	struct gone *next;
	uint64_t until_ms;
	char file_id[];
};

static struct gone **gone_bucket(struct vfs *s, const char *file_id)
{
	return &s->gone[strhash(file_id) % GONE_BUCKETS];
}

/* until_ms: time of expiry, CLOCK_MONOTONIC; 0: note it for the present listing only. */
static void leave_out(struct vfs *s, const char *file_id, uint64_t until_ms)
{
	struct gone **at = gone_bucket(s, file_id), *g;
	size_t size = strlen(file_id) + 1;

	g = malloc(sizeof(*g) + size);
	if (!g)
		return;
	memcpy(g->file_id, file_id, size);
	g->until_ms = until_ms;
	g->next = *at;
	*at = g;
	s->gone_count++;
}

void vfs_note_gone(struct vfs *s, const char *file_id)
{
	vfs_forget_file(s, file_id);
	leave_out(s, file_id, clock_mono_ms() + PUBLISH_GRACE_MS);
}

static void note_superseded(struct vfs *s)
{
	for (const struct staged_side *l = s->sides; l; l = l->next)
		for (size_t k = 0; !l->dropped && k < l->superseded_count; k++)
			leave_out(s, l->superseded_files[k], 0);
}

/*
 * Superseded Files are hidden: they are deleted once their successor is a File. They are noted at a
 * listing's first File without an entry; a listing may have none.
 */
bool vfs_is_superseded(struct vfs *s, const char *file_id)
{
	if (s->cfg.keep_old)
		return false;
	if (!s->superseded_noted)
		note_superseded(s);
	s->superseded_noted = true;
	return vfs_is_gone(s, file_id);
}

void vfs_forget_gone_until(struct vfs *s, uint64_t now)
{
	for (size_t k = 0; k < GONE_BUCKETS; k++) {
		struct gone **at = &s->gone[k], *g;

		while ((g = *at) != NULL) {
			if (g->until_ms > now) {
				at = &g->next;
				continue;
			}
			*at = g->next;
			free(g);
			s->gone_count--;
		}
	}
}

void vfs_forget_gone(struct vfs *s)
{
	vfs_forget_gone_until(s, UINT64_MAX);
}

void vfs_forget_listed(struct vfs *s, const char *file_id)
{
	struct inode *i = inode_by_file_id(s->table, file_id);

	if (!i || i->side)
		return;
	inode_ref(i);
	inode_set_file_id(s->table, i, NULL);
	inode_unlink(s->table, i);
	inode_unref(s->table, i);
}

bool vfs_is_gone(struct vfs *s, const char *file_id)
{
	const struct gone *g = s->gone_count ? *gone_bucket(s, file_id) : NULL;

	while (g && strcmp(g->file_id, file_id))
		g = g->next;
	return g != NULL;
}

/* arg: the File's id, allocated. */
static void on_unwanted_deleted(void *arg, const struct api_error *err)
{
	char text[640], *file_id = arg;
	int r = errmap(err, ERRMAP_DELETE);

	if (r && r != -ENOENT) {
		errmap_text(err, ERRMAP_DELETE, text, sizeof(text));
		log_error("removing %s, which nothing stands for any more: %s", file_id, text);
	}
	free(file_id);
}

void vfs_delete_unwanted(struct vfs *s, const char *file_id)
{
	char *id = strdup(file_id);
	struct api_req *req = NULL;

	if (id)
		req = api_file_delete(s->cfg.api, file_id, on_unwanted_deleted, id);
	if (!req) {
		log_error("out of memory: %s is not removed", file_id);
		free(id);
	}
	api_req_unref(req);
	pthread_mutex_lock(&s->lock);
	vfs_note_gone(s, file_id);
	vfs_forget_listed(s, file_id);
	pthread_mutex_unlock(&s->lock);
}
