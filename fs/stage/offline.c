#include "fs/stage/offline.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/state/cached.h"
#include "fs/state/data.h"
#include "fs/state/store.h"

#define NAME_SIZE 300

static int open_below(const char *state_dir, bool set_aside)
{
	static const char *const names[] = { DATA_DIR, "staging" /* of a version before */ };
	char path[4400];
	int fd = -1;

	for (size_t i = 0; fd < 0 && i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s%s", state_dir, names[i],
			 set_aside ? "/" DATA_DAMAGED : "");
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	}
	return fd < 0 ? -errno : fd;
}

struct scan {
	const char *state_dir;
	struct statedb *db;
	bool set_aside;
	int (*fn)(void *arg, const struct kept *k);
	void *arg;
};

static void look_at_data(const struct scan *s, struct kept *k)
{
	int dirfd = open_below(s->state_dir, s->set_aside);
	char name[NAME_SIZE];
	struct stat st;

	if (dirfd < 0)
		return;
	snprintf(name, sizeof(name), "%s" DATA_END, k->id);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
		k->has_data = true;
		k->size = (uint64_t)st.st_size;
	}
	close(dirfd);
}

static int show(void *arg, const char *id)
{
	const struct scan *s = arg;
	struct kept k = { .id = id, .set_aside = s->set_aside, .db = s->db };
	int r;

	record_init(&k.r);
	k.err = files_load(s->db, id, &k.r);
	look_at_data(s, &k);
	r = s->fn(s->arg, &k);
	if (!k.err)
		record_release(&k.r);
	return r;
}

static bool is_orphan(const struct scan *s, const char *id)
{
	return data_id_valid(id) && !files_has(s->db, id) && !cached_has_data(s->db, id) &&
	       !files_is_doomed(s->db, id);
}

/* Call fn for data without a row: in damaged/, and what another state.db left. */
static int show_orphans(struct scan *s)
{
	int fd = open_below(s->state_dir, s->set_aside), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!d) {
		r = fd < 0 ? fd : -errno;
		if (fd >= 0)
			close(fd);
		return r == -ENOENT ? 0 : r;
	}
	while (!r && (e = readdir(d)) != NULL) {
		size_t len = strlen(e->d_name), end = strlen(DATA_END);
		char id[NAME_SIZE];

		if (len <= end || strcmp(e->d_name + len - end, DATA_END))
			continue;
		snprintf(id, sizeof(id), "%.*s", (int)(len - end), e->d_name);
		if (s->set_aside ? !files_has(s->db, id) : is_orphan(s, id))
			r = show(s, id);
	}
	closedir(d);
	return r;
}

static int open_store(const char *state_dir, struct statedb **ret)
{
	char path[4400];
	int r;

	snprintf(path, sizeof(path), "%s/state.db", state_dir);
	/* Do not create a store. */
	if (access(path, F_OK))
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	r = statedb_open_as_is(state_dir, ret);
	if (!r)
		r = files_define(*ret);
	if (!r)
		r = cached_define(*ret);
	return r;
}

int kept_scan(const char *state_dir, int (*fn)(void *arg, const struct kept *k), void *arg)
{
	struct scan s = { .state_dir = state_dir, .fn = fn, .arg = arg };
	int r = open_store(state_dir, &s.db);

	if (!s.db)
		return r;
	if (!r)
		r = files_each(s.db, FILES_STAGED, show, &s);
	s.set_aside = true;
	if (!r)
		r = files_each(s.db, FILES_SET_ASIDE, show, &s);
	if (!r)
		r = show_orphans(&s);
	s.set_aside = false;
	if (!r)
		r = show_orphans(&s);
	statedb_close(s.db);
	return r;
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
	struct record r2 = k->r; /* borrows all its strings */
	uint64_t seq = 0;

	if (dirfd < 0)
		return dirfd;
	r2.state = RECORD_SEALED;
	r2.size = k->size;
	r2.md5 = NULL; /* may be stale: bytes may have changed since */
	r2.declared = 0;
	r2.synced = true;
	/* Sync the data first: a closed row says that it is on stable storage. */
	r = sync_data(dirfd, k->id);
	close(dirfd);
	if (!r)
		r = statedb_begin(k->db);
	if (r)
		return r;
	files_save(k->db, k->id, &r2);
	r = statedb_commit(k->db, &seq);
	return r ? r : statedb_sync(k->db, seq);
}

/* Commit durably first: data without a row is never published, a row without data looks damaged. */
static int drop_row(struct statedb *db, const char *id)
{
	uint64_t seq = 0;
	int r = statedb_begin(db);

	if (r)
		return r;
	files_drop(db, id);
	r = statedb_commit(db, &seq);
	return r ? r : statedb_sync(db, seq);
}

int kept_discard(const char *state_dir, const struct kept *k)
{
	char name[NAME_SIZE];
	int dirfd, r = drop_row(k->db, k->id);

	if (r)
		return r;
	dirfd = open_below(state_dir, k->set_aside);
	if (dirfd < 0)
		return dirfd == -ENOENT ? 0 : dirfd;
	snprintf(name, sizeof(name), "%s" DATA_END, k->id);
	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		r = -errno;
	if (!r && fsync(dirfd) < 0)
		r = -errno;
	close(dirfd);
	return r;
}
