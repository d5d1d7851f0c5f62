#include "fs/stage/offline.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_END ".rec"
#define DATA_END ".data"
#define NAME_SIZE 300

struct ids {
	char **v;
	size_t count;
};

static void free_ids(struct ids *ids)
{
	for (size_t i = 0; i < ids->count; i++)
		free(ids->v[i]);
	free(ids->v);
}

static int add_id(struct ids *ids, const char *name, size_t len)
{
	char **grown = realloc(ids->v, (ids->count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	ids->v = grown;
	grown[ids->count] = strndup(name, len);
	if (!grown[ids->count])
		return -ENOMEM;
	ids->count++;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_ids(int dirfd, struct ids *ids)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	int r = 0;

	if (!d) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (!r && (e = readdir(d)) != NULL) {
		size_t len = strlen(e->d_name), end = strlen(RECORD_END);

		if (len > end && !strcmp(e->d_name + len - end, RECORD_END))
			r = add_id(ids, e->d_name, len - end);
	}
	closedir(d);
	if (ids->count)
		qsort(ids->v, ids->count, sizeof(*ids->v), compare);
	return r;
}

static int open_below(const char *state_dir, bool set_aside)
{
	char path[4400];
	int fd;

	snprintf(path, sizeof(path), "%s/staging%s", state_dir, set_aside ? "/damaged" : "");
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static int show(int dirfd, const char *id, bool set_aside,
		int (*fn)(void *arg, const struct kept *k), void *arg)
{
	struct kept k = { .id = id, .set_aside = set_aside };
	char name[NAME_SIZE];
	struct stat st;
	int r;

	record_init(&k.r);
	snprintf(name, sizeof(name), "%s" RECORD_END, id);
	k.err = record_load(dirfd, name, &k.r);
	snprintf(name, sizeof(name), "%s" DATA_END, id);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
		k.has_data = true;
		k.size = (uint64_t)st.st_size;
	}
	r = fn(arg, &k);
	if (!k.err)
		record_release(&k.r);
	return r;
}

static int scan(const char *state_dir, bool set_aside, int (*fn)(void *arg, const struct kept *k),
		void *arg)
{
	int dirfd = open_below(state_dir, set_aside), r;
	struct ids ids = { 0 };

	if (dirfd < 0)
		return dirfd == -ENOENT ? 0 : dirfd;
	r = read_ids(dirfd, &ids);
	for (size_t i = 0; !r && i < ids.count; i++)
		r = show(dirfd, ids.v[i], set_aside, fn, arg);
	free_ids(&ids);
	close(dirfd);
	return r;
}

int kept_scan(const char *state_dir, int (*fn)(void *arg, const struct kept *k), void *arg)
{
	int r = scan(state_dir, false, fn, arg);

	return r ? r : scan(state_dir, true, fn, arg);
}

bool kept_is_closed(const struct kept *k)
{
	if (k->err || k->set_aside)
		return false;
	return k->r.state == RECORD_HELD || k->r.state == RECORD_SEALED ||
	       k->r.state == RECORD_COMPLETING || k->r.state == RECORD_FAILED;
}

bool kept_is_open(const struct kept *k)
{
	return !k->err && !k->set_aside &&
	       (k->r.state == RECORD_WRITING || k->r.state == RECORD_ABORTED);
}

static int sync_data(int dirfd, const char *id)
{
	char name[NAME_SIZE];
	int fd, r = 0;

	snprintf(name, sizeof(name), "%s" DATA_END, id);
	fd = openat(dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (fdatasync(fd) < 0)
		r = -errno;
	close(fd);
	return r;
}

int kept_close(const char *state_dir, const struct kept *k)
{
	int dirfd = open_below(state_dir, k->set_aside), r;
	struct record r2 = k->r; /* borrows all of its strings */
	char name[NAME_SIZE];

	if (dirfd < 0)
		return dirfd;
	r2.state = RECORD_SEALED;
	r2.size = k->size;
	r2.md5 = NULL; /* of bytes that were written on, perhaps */
	r2.declared = 0;
	/* In this order: a closed record says that the data is on stable storage. */
	r = sync_data(dirfd, k->id);
	snprintf(name, sizeof(name), "%s" RECORD_END, k->id);
	if (!r)
		r = record_save(dirfd, name, &r2, true);
	close(dirfd);
	return r;
}

int kept_discard(const char *state_dir, const struct kept *k)
{
	static const char *const ends[] = { RECORD_END, DATA_END };
	int dirfd = open_below(state_dir, k->set_aside), r = 0;
	char name[NAME_SIZE];

	if (dirfd < 0)
		return dirfd;
	/* The record first: data alone is never published. */
	for (size_t i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%s%s", k->id, ends[i]);
		if (!r && unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
			r = -errno;
	}
	if (!r && fsync(dirfd) < 0)
		r = -errno;
	close(dirfd);
	return r;
}
