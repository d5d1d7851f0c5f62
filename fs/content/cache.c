/*
 * One table of what is there, by id, threaded by a list in the order of use.
 * Renaming a file into its place and the table's entry for it change together
 * under the lock; the slow part of a removal (giving the blocks back) and the
 * sync of new content happen outside of it, on names in .fetch/ that nobody
 * else knows.
 */
#include "fs/content/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/work/pool.h"
#include "net/api/api.h"
#include "net/base/clock.h"
#include "net/base/digest.h"
#include "net/base/map.h"

#define CACHE_TOUCH_MS 60000 /* atime is written at most so often per file */
#define CACHE_FETCH_DIR ".fetch"
#define CACHE_TOKEN_SIZE 24
#define CACHE_NAME_SIZE (DIGEST_HEX_SIZE + 1)

struct cache_entry {
	struct cache_entry *older, *newer; /* by last use */
	uint64_t bytes;
	uint64_t touched_ms; /* when atime was last written, 0: not by us */
	char id[];
};

struct cache {
	char *dir;
	int dir_fd, fetch_fd;
	uint64_t size_max;
	pthread_mutex_t lock;
	/* under lock */
	struct map entries; /* by id */
	struct cache_entry *oldest, *newest;
	uint64_t used;
	uint64_t next_token;
	uint64_t trash_first, trash_end; /* names in .fetch/ that wait for their unlink */
	struct pool *worker;		 /* NULL: the evicting thread unlinks */
	struct hash_job sweep;
};

/* Files that a scan found; sorted by stamp. */
struct cache_found {
	struct timespec stamp;
	uint64_t bytes;
	char *id;
};

/*
 * The name of id's content. An id that is no plain word may have a '/', or be longer than a name:
 * '%' and its MD5. Two ids with one MD5 are one service's trick against itself.
 */
static const char *name_of(const char *id, char room[CACHE_NAME_SIZE])
{
	struct digest *d;

	if (api_word_valid(id))
		return id;
	d = digest_new();
	room[0] = '%';
	room[1] = '\0';
	if (d && !digest_update(d, id, strlen(id)))
		digest_hex(d, room + 1);
	digest_free(d);
	return room;
}

static void token_name(uint64_t token, char ret[CACHE_TOKEN_SIZE])
{
	snprintf(ret, CACHE_TOKEN_SIZE, "%" PRIu64, token);
}

static void order_unlink(struct cache *c, struct cache_entry *e)
{
	*(e->older ? &e->older->newer : &c->oldest) = e->newer;
	*(e->newer ? &e->newer->older : &c->newest) = e->older;
}

static void order_append(struct cache *c, struct cache_entry *e)
{
	e->older = c->newest;
	e->newer = NULL;
	*(c->newest ? &c->newest->newer : &c->oldest) = e;
	c->newest = e;
}

/* Takes the entry of id out of the table; its file stays. */
static void entry_forget(struct cache *c, const char *id)
{
	struct cache_entry *e = map_get(&c->entries, id);

	if (!e)
		return;
	map_del(&c->entries, id);
	order_unlink(c, e);
	c->used -= e->bytes;
	free(e);
}

/* Replaces the table's entry for id; the new entry is the last one used. */
static int entry_insert(struct cache *c, const char *id, uint64_t bytes)
{
	size_t size = strlen(id) + 1;
	struct cache_entry *e = calloc(1, sizeof(*e) + size);

	if (!e)
		return -ENOMEM;
	entry_forget(c, id);
	memcpy(e->id, id, size);
	e->bytes = bytes;
	if (map_put(&c->entries, e->id, e)) {
		free(e);
		return -ENOMEM;
	}
	order_append(c, e);
	c->used += bytes;
	return 0;
}

static void trash_name(uint64_t number, char ret[CACHE_TOKEN_SIZE])
{
	snprintf(ret, CACHE_TOKEN_SIZE, "t%" PRIu64, number);
}

/* Under lock. Moves a file out of the way at once; trash_empty() removes it later. */
static void trash_put(struct cache *c, const char *id)
{
	char name[CACHE_TOKEN_SIZE];

	trash_name(c->trash_end++, name);
	if (renameat(c->dir_fd, id, c->fetch_fd, name) && errno != ENOENT)
		unlinkat(c->dir_fd, id, 0);
}

/* Unlinks without the lock: a large file takes seconds. */
static void trash_empty(struct cache *c)
{
	char name[CACHE_TOKEN_SIZE];
	uint64_t number, end;

	pthread_mutex_lock(&c->lock);
	number = c->trash_first;
	end = c->trash_first = c->trash_end;
	pthread_mutex_unlock(&c->lock);
	for (; number < end; number++) {
		trash_name(number, name);
		unlinkat(c->fetch_fd, name, 0);
	}
}

static bool sweep_run(struct hash_job *job)
{
	trash_empty((struct cache *)((char *)job - offsetof(struct cache, sweep)));
	return false;
}

/* Unlinks evicted files later: the evicting thread may hold locks, or be the network's. */
static void trash_sweep(struct cache *c)
{
	struct pool *worker;
	bool any;

	pthread_mutex_lock(&c->lock);
	worker = c->worker;
	any = c->trash_first != c->trash_end;
	/* Under the lock: cache_set_worker() waits for it before the worker goes. */
	if (any && worker)
		pool_queue(worker, &c->sweep);
	pthread_mutex_unlock(&c->lock);
	if (any && !worker)
		trash_empty(c);
}

void cache_set_worker(struct cache *c, struct pool *worker)
{
	struct pool *before;

	pthread_mutex_lock(&c->lock);
	before = c->worker;
	c->worker = worker;
	pthread_mutex_unlock(&c->lock);
	if (before)
		pool_remove(before, &c->sweep);
	trash_sweep(c);
}

/* Under lock. */
static void cache_evict(struct cache *c, const char *id)
{
	trash_put(c, id);
	entry_forget(c, id);
}

static bool cache_keeps(const struct cache *c, uint64_t bytes)
{
	return c->size_max > 0 && bytes <= c->size_max;
}

/* Under lock: evicts until the bounds hold. */
static void cache_trim(struct cache *c)
{
	size_t count_max = c->size_max ? CACHE_FILES_MAX : 0;

	while (c->oldest && (c->used > c->size_max || c->entries.live > count_max))
		cache_evict(c, c->oldest->id);
}

/* Opens, and makes where needed, a directory that only its owner may use. */
static int open_private_dir(int at, const char *path, int *ret_fd)
{
	int fd, rc;

	if (mkdirat(at, path, 0700) && errno != EEXIST)
		return -errno;
	fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0700)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

/* A second open directory: readdir must not move the offset of the first. */
static int open_list(int dir_fd, DIR **ret)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d;
	int rc;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		rc = -errno;
		close(fd);
		return rc;
	}
	*ret = d;
	return 0;
}

static int fetch_dir_clear(struct cache *c)
{
	struct dirent *de;
	DIR *d;
	int rc;

	rc = open_list(c->fetch_fd, &d);
	if (rc)
		return rc;
	while ((de = readdir(d)) != NULL)
		unlinkat(c->fetch_fd, de->d_name, 0);
	closedir(d);
	return 0;
}

/* Opens .fetch/ and removes what an earlier run left there. */
static int fetch_dir_open(struct cache *c)
{
	int rc;

	rc = open_private_dir(c->dir_fd, CACHE_FETCH_DIR, &c->fetch_fd);
	if (rc == -ENOTDIR || rc == -ELOOP) {
		/* Something else has our name: it is in a directory of ours, so it goes. */
		unlinkat(c->dir_fd, CACHE_FETCH_DIR, 0);
		rc = open_private_dir(c->dir_fd, CACHE_FETCH_DIR, &c->fetch_fd);
	}
	return rc ? rc : fetch_dir_clear(c);
}

static bool timespec_before(const struct timespec *a, const struct timespec *b)
{
	if (a->tv_sec != b->tv_sec)
		return a->tv_sec < b->tv_sec;
	return a->tv_nsec < b->tv_nsec;
}

/* Fills found from a directory entry, if that is content of a File. */
static bool found_take(struct cache *c, const char *name, struct cache_found *ret)
{
	struct stat st;
	char *id;

	if ((!api_word_valid(name) && name[0] != '%') ||
	    fstatat(c->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
		return false;
	id = strdup(name);
	if (!id)
		return false;
	/* atime is ours to write, but a mount with noatime does not hinder that. */
	ret->stamp = timespec_before(&st.st_atim, &st.st_mtim) ? st.st_mtim : st.st_atim;
	ret->bytes = (uint64_t)st.st_size;
	ret->id = id;
	return true;
}

static int found_compare(const void *a, const void *b)
{
	const struct cache_found *x = a, *y = b;

	if (timespec_before(&x->stamp, &y->stamp))
		return -1;
	if (timespec_before(&y->stamp, &x->stamp))
		return 1;
	return strcmp(x->id, y->id);
}

static int found_list(struct cache *c, struct cache_found **ret, size_t *ret_count)
{
	struct cache_found *v = NULL, *more;
	size_t n = 0, cap = 0;
	struct dirent *de;
	DIR *d;
	int rc;

	rc = open_list(c->dir_fd, &d);
	if (rc)
		return rc;
	while ((de = readdir(d)) != NULL) {
		if (n == cap) {
			cap = cap ? cap * 2 : 64;
			more = realloc(v, cap * sizeof(*v));
			if (!more)
				break; /* the rest is only fetched again */
			v = more;
		}
		if (found_take(c, de->d_name, &v[n]))
			n++;
	}
	closedir(d);
	*ret = v;
	*ret_count = n;
	return 0;
}

/* Takes over what is in the directory, the oldest first. */
static int cache_scan(struct cache *c)
{
	struct cache_found *v;
	size_t i, n;
	int rc;

	rc = found_list(c, &v, &n);
	if (rc)
		return rc;
	if (n)
		qsort(v, n, sizeof(*v), found_compare);
	for (i = 0; i < n; i++) {
		if (!cache_keeps(c, v[i].bytes))
			trash_put(c, v[i].id);
		else if (!rc)
			rc = entry_insert(c, v[i].id, v[i].bytes);
		free(v[i].id);
	}
	free(v);
	cache_trim(c);
	trash_sweep(c);
	return rc;
}

int cache_open(const char *dir, uint64_t size_max, struct cache **ret)
{
	struct cache *c = calloc(1, sizeof(*c));
	int rc = -ENOMEM;

	if (!c)
		return -ENOMEM;
	c->dir_fd = c->fetch_fd = -1;
	c->size_max = size_max;
	c->next_token = 1;
	c->sweep.run = sweep_run;
	pthread_mutex_init(&c->lock, NULL);
	c->dir = strdup(dir);
	if (!c->dir)
		goto fail;
	rc = open_private_dir(AT_FDCWD, dir, &c->dir_fd);
	if (!rc)
		rc = fetch_dir_open(c);
	if (!rc)
		rc = cache_scan(c);
	if (rc)
		goto fail;
	*ret = c;
	return 0;
fail:
	cache_close(c);
	return rc;
}

void cache_close(struct cache *c)
{
	if (!c)
		return;
	while (c->oldest)
		entry_forget(c, c->oldest->id);
	if (c->fetch_fd >= 0) {
		fetch_dir_clear(c);
		close(c->fetch_fd);
	}
	if (c->dir_fd >= 0)
		close(c->dir_fd);
	pthread_mutex_destroy(&c->lock);
	free(c->dir);
	map_release(&c->entries);
	free(c);
}

/* Under lock. The use counts from now; on disk it is noted now and then. */
static bool entry_used(struct cache *c, struct cache_entry *e)
{
	uint64_t now = clock_mono_ms();

	order_unlink(c, e);
	order_append(c, e);
	if (e->touched_ms && now - e->touched_ms < CACHE_TOUCH_MS)
		return false;
	e->touched_ms = now ? now : 1;
	return true;
}

/*
 * Returns the fd, -ENOENT if the file is not the one that was put there, or the errno of opening
 * it.
 */
static int open_content(struct cache *c, const char *id, uint64_t bytes)
{
	int fd = openat(c->dir_fd, id, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno == ENFILE || errno == EMFILE || errno == ENOMEM ? -errno : -ENOENT;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == bytes)
		return fd;
	close(fd);
	return -ENOENT;
}

int cache_get(struct cache *c, const char *file_id, uint64_t bytes, int *ret_fd)
{
	struct timespec times[2] = { { 0 } };
	char room[CACHE_NAME_SIZE];
	struct cache_entry *e;
	bool touch = false;
	int fd = -ENOENT;

	file_id = name_of(file_id, room);
	pthread_mutex_lock(&c->lock);
	e = map_get(&c->entries, file_id);
	if (e) {
		fd = open_content(c, file_id, bytes);
		if (fd >= 0)
			touch = entry_used(c, e);
		else if (fd == -ENOENT)
			cache_evict(c, file_id);
	}
	pthread_mutex_unlock(&c->lock);
	trash_sweep(c);
	if (fd < 0)
		return fd;
	if (touch) {
		times[0] = clock_wall_ts();
		times[1].tv_nsec = UTIME_OMIT;
		futimens(fd, times);
	}
	*ret_fd = fd;
	return 0;
}

int cache_path(struct cache *c, const char *file_id, char *buf, size_t size)
{
	char room[CACHE_NAME_SIZE];
	int n = snprintf(buf, size, "%s/%s", c->dir, name_of(file_id, room));

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* Under lock: content stands at its place; accounts for it, or takes it away again. */
static int cache_account(struct cache *c, const char *id, uint64_t bytes)
{
	int rc = 0;

	if (cache_keeps(c, bytes)) {
		rc = entry_insert(c, id, bytes);
		if (!rc) {
			cache_trim(c);
			return 0;
		}
	}
	cache_evict(c, id);
	return rc;
}

int cache_added(struct cache *c, const char *file_id, uint64_t bytes)
{
	char room[CACHE_NAME_SIZE];
	struct stat st;
	int rc = 0;

	file_id = name_of(file_id, room);
	pthread_mutex_lock(&c->lock);
	if (fstatat(c->dir_fd, file_id, &st, AT_SYMLINK_NOFOLLOW)) {
		rc = -errno;
		entry_forget(c, file_id);
	} else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != bytes) {
		rc = -EIO;
		cache_evict(c, file_id);
	} else {
		rc = cache_account(c, file_id, bytes);
	}
	pthread_mutex_unlock(&c->lock);
	trash_sweep(c);
	return rc;
}

void cache_remove(struct cache *c, const char *file_id)
{
	char room[CACHE_NAME_SIZE];

	pthread_mutex_lock(&c->lock);
	cache_evict(c, name_of(file_id, room));
	pthread_mutex_unlock(&c->lock);
	trash_sweep(c);
}

int cache_fetch_begin(struct cache *c, const char *file_id, uint64_t *ret_token, int *ret_fd)
{
	char name[CACHE_TOKEN_SIZE];
	uint64_t token;
	int fd;

	(void)file_id; /* several fetches of one File must not meet */
	pthread_mutex_lock(&c->lock);
	token = c->next_token++;
	pthread_mutex_unlock(&c->lock);
	token_name(token, name);
	fd = openat(c->fetch_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	*ret_token = token;
	*ret_fd = fd;
	return 0;
}

/*
 * Content that stands under its File id after a power loss must be right, and
 * a rename may reach the disk before the data does.
 */
static int content_settle(struct cache *c, const char *name, uint64_t bytes)
{
	int fd = openat(c->fetch_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		rc = -errno;
	else if ((uint64_t)st.st_size != bytes)
		rc = -EIO;
	else if (fdatasync(fd))
		rc = -errno;
	close(fd);
	return rc;
}

int cache_fetch_done(struct cache *c, const char *file_id, uint64_t token, uint64_t bytes)
{
	char name[CACHE_TOKEN_SIZE], room[CACHE_NAME_SIZE];
	int rc = 0;

	file_id = name_of(file_id, room);
	if (!cache_keeps(c, bytes))
		goto drop;
	token_name(token, name);
	rc = content_settle(c, name, bytes);
	if (rc)
		goto drop;
	pthread_mutex_lock(&c->lock);
	if (renameat(c->fetch_fd, name, c->dir_fd, file_id))
		rc = -errno;
	else
		rc = cache_account(c, file_id, bytes);
	pthread_mutex_unlock(&c->lock);
	trash_sweep(c);
	if (!rc)
		return 0;
drop:
	cache_fetch_drop(c, token);
	return rc;
}

void cache_fetch_drop(struct cache *c, uint64_t token)
{
	char name[CACHE_TOKEN_SIZE];

	token_name(token, name);
	unlinkat(c->fetch_fd, name, 0);
}

uint64_t cache_shrink(struct cache *c, uint64_t bytes)
{
	uint64_t before, freed;

	pthread_mutex_lock(&c->lock);
	before = c->used;
	while (c->oldest && before - c->used < bytes)
		cache_evict(c, c->oldest->id);
	freed = before - c->used;
	pthread_mutex_unlock(&c->lock);
	trash_empty(c);
	return freed;
}

uint64_t cache_used(struct cache *c)
{
	uint64_t used;

	pthread_mutex_lock(&c->lock);
	used = c->used;
	pthread_mutex_unlock(&c->lock);
	return used;
}
