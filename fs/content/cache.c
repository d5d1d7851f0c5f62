/*
 * Content found, added and dropped.
 */
#include "fs/content/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/content/cache_check.h"
#include "fs/content/cache_impl.h"
#include "fs/state/files.h"
#include "fs/state/store.h"
#include "net/base/clock.h"
#include "net/base/log.h"

int cache_open(struct datadir *data, struct statedb *db, uint64_t size_max, struct cache **ret)
{
	struct cache *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return -ENOMEM;
	c->data = data;
	c->db = db;
	c->size_max = size_max;
	c->touched_ms = clock_mono_ms();
	pthread_mutex_init(&c->change_lock, NULL);
	pthread_mutex_init(&c->lock, NULL);
	rc = cache_load(c);
	if (rc) {
		cache_close(c);
		return rc;
	}
	cache_upkeep(c);
	*ret = c;
	return 0;
}

void cache_close(struct cache *c)
{
	if (!c)
		return;
	cache_upkeep_now(c);
	cache_order_release(&c->order);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->change_lock);
	free(c);
}

/* ---- finding ---- */

/* The use counts from now. Under lock. */
static void entry_used(struct cache *c, struct cache_entry *e)
{
	int64_t now = clock_wall_s();

	cache_order_use(&c->order, e);
	e->touched = e->touched || e->row.used_s != now;
	e->row.used_s = now;
}

/* The file descriptor; -ENOENT if the file is not the one that was put there; or negative errno. */
static int open_content(struct cache *c, const char *data, uint64_t bytes)
{
	int fd = datadir_open_file(c->data, data, O_RDONLY);
	struct stat st;

	if (fd < 0)
		return fd == -ENFILE || fd == -EMFILE || fd == -ENOMEM ? fd : -ENOENT;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == bytes)
		return fd;
	close(fd);
	return -ENOENT;
}

/* Open the content of file_id; drop it if its file is not there. */
static int find(struct cache *c, const char *file_id, uint64_t bytes, struct cache_copy *ret,
		bool *ret_unsure)
{
	struct cache_entry *e;
	int fd = -ENOENT;

	pthread_mutex_lock(&c->lock);
	e = cache_order_find(&c->order, file_id);
	if (e) {
		fd = e->row.bytes == bytes ? open_content(c, e->row.data, bytes) : -ENOENT;
		if (fd >= 0) {
			entry_used(c, e);
			memcpy(ret->data, e->row.data, sizeof(ret->data));
			memcpy(ret->md5, e->row.md5, sizeof(ret->md5));
			*ret_unsure = e->unsure;
			ret->fd = fd;
		} else if (fd == -ENOENT) {
			cache_evict(c, e);
		}
	}
	pthread_mutex_unlock(&c->lock);
	return fd < 0 ? fd : 0;
}

/* The bytes were read back right: note that they are on stable storage. */
static void note_sure(struct cache *c, const char *file_id, const struct cache_copy *copy)
{
	struct cache_entry *e;

	if (statedb_begin(c->db) == 0) {
		cached_set_synced(c->db, file_id, copy->data);
		statedb_commit(c->db, NULL);
	}
	pthread_mutex_lock(&c->lock);
	e = cache_order_find(&c->order, file_id);
	if (e && !strcmp(e->row.data, copy->data))
		e->unsure = false;
	pthread_mutex_unlock(&c->lock);
}

/* Compare content that may have been lost by a power cut. 0, or -ENOENT: it was, and is dropped. */
static int make_sure(struct cache *c, const char *file_id, uint64_t bytes, struct cache_copy *copy)
{
	char md5[DIGEST_HEX_SIZE];
	int rc = cache_hash(copy->fd, bytes, md5);

	if (!rc && !strcmp(md5, copy->md5)) {
		note_sure(c, file_id, copy);
		return 0;
	}
	cache_reject(c, file_id, copy->data);
	close(copy->fd);
	return -ENOENT;
}

int cache_get(struct cache *c, const char *file_id, uint64_t bytes, struct cache_copy *ret)
{
	struct cache_copy copy;
	bool unsure = false;
	int rc = find(c, file_id, bytes, &copy, &unsure);

	if (!rc && unsure)
		rc = make_sure(c, file_id, bytes, &copy);
	cache_upkeep(c);
	if (!rc)
		*ret = copy;
	return rc;
}

/* ---- adding ---- */

int cache_adopt(struct cache *c, const char *file_id, const char *data, uint64_t bytes,
		const char *md5, bool synced)
{
	struct cached row = { .bytes = bytes, .used_s = clock_wall_s(), .synced = synced };
	int rc;

	if (!cache_keeps(c, bytes))
		return -EFBIG;
	cached_fill(&row, data, md5, datadir_era(c->data));
	rc = cache_commit(c, file_id, &row, files_drop);
	cache_upkeep(c);
	return rc;
}

/* ---- dropping ---- */

/* Drop the content of file_id; data: only that one, or NULL. True if it was here. */
static bool drop(struct cache *c, const char *file_id, const char *data)
{
	struct cache_entry *e;

	pthread_mutex_lock(&c->lock);
	e = cache_order_find(&c->order, file_id);
	if (e && data && strcmp(e->row.data, data))
		e = NULL;
	if (e)
		cache_evict(c, e);
	pthread_mutex_unlock(&c->lock);
	cache_upkeep(c);
	return e != NULL;
}

void cache_remove(struct cache *c, const char *file_id)
{
	drop(c, file_id, NULL);
}

void cache_reject(struct cache *c, const char *file_id, const char *data)
{
	if (drop(c, file_id, data))
		log_warn("the copy of %s in the cache (" DATA_DIR "/%s" DATA_END ") was damaged on "
			 "disk; it is dropped, and the content is fetched again",
			 file_id, data);
}

void cache_sweep(struct cache *c, bool (*keep)(void *arg, const char *file_id), void *arg)
{
	struct cache_entry *e;
	size_t count = 0;
	char **ids;

	pthread_mutex_lock(&c->lock);
	ids = malloc((c->order.entries.live + 1) * sizeof(*ids));
	for (e = ids ? c->order.oldest : NULL; e; e = e->newer) {
		ids[count] = strdup(e->id);
		count += ids[count] != NULL;
	}
	pthread_mutex_unlock(&c->lock);
	for (size_t i = 0; i < count; i++) {
		if (!keep(arg, ids[i]))
			drop(c, ids[i], NULL);
		free(ids[i]);
	}
	free(ids);
}

uint64_t cache_shrink(struct cache *c, uint64_t bytes)
{
	uint64_t before, freed;

	pthread_mutex_lock(&c->lock);
	before = c->order.used;
	while (c->order.oldest && before - c->order.used < bytes)
		cache_evict(c, c->order.oldest);
	freed = before - c->order.used;
	pthread_mutex_unlock(&c->lock);
	if (freed) {
		cache_upkeep_now(c);
		datadir_flush(c->data);
	}
	return freed;
}

uint64_t cache_used(struct cache *c)
{
	uint64_t used;

	pthread_mutex_lock(&c->lock);
	used = c->order.used;
	pthread_mutex_unlock(&c->lock);
	return used;
}
