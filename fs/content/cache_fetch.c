/*
 * Content on its way: a data file that is doomed until the content is whole, so that the next mount
 * removes it after a crash.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/content/cache_check.h"
#include "fs/content/cache_impl.h"
#include "fs/state/files.h"
#include "fs/state/store.h"
#include "net/base/clock.h"

/* A token is the number that the id is made of; 0: the file has no name any more. */
static void id_of(uint64_t token, char ret[DATA_ID_SIZE])
{
	snprintf(ret, DATA_ID_SIZE, "%016" PRIx64, token);
}

/* Note that the next mount is to remove the file. 0 or negative errno. */
static int note_doomed(struct cache *c, const char *id)
{
	int rc = statedb_begin(c->db);

	if (rc)
		return rc;
	files_doom(c->db, id);
	return statedb_commit(c->db, NULL);
}

int cache_fetch_begin(struct cache *c, uint64_t *ret_token, int *ret_fd)
{
	char id[DATA_ID_SIZE];
	int fd, rc = datadir_create(c->data, id, &fd);

	if (rc)
		return rc;
	*ret_token = strtoull(id, NULL, 16);
	/* Reading works on without the store: as a file without a name. */
	if (!c->size_max || note_doomed(c, id)) {
		datadir_unmake(c->data, id);
		*ret_token = 0;
	}
	*ret_fd = fd;
	return 0;
}

void cache_fetch_drop(struct cache *c, uint64_t token)
{
	char id[DATA_ID_SIZE];

	if (!token)
		return;
	id_of(token, id);
	datadir_doom(c->data, id);
}

/* 0; -EIO: another size; or negative errno. */
static int hash_whole(struct cache *c, const char *id, uint64_t bytes,
		      char ret_md5[DIGEST_HEX_SIZE])
{
	int fd = datadir_open_file(c->data, id, O_RDONLY);
	struct stat st;
	int rc = 0;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		rc = -errno;
	else if ((uint64_t)st.st_size != bytes)
		rc = -EIO;
	else
		rc = cache_hash(fd, bytes, ret_md5);
	close(fd);
	return rc;
}

int cache_fetch_done(struct cache *c, const char *file_id, uint64_t token, uint64_t bytes,
		     char ret_md5[DIGEST_HEX_SIZE])
{
	struct cached row = { .bytes = bytes, .used_s = clock_wall_s() };
	char id[DATA_ID_SIZE], md5[DIGEST_HEX_SIZE];
	int rc = token && cache_keeps(c, bytes) ? 0 : -EFBIG;

	id_of(token, id);
	if (!rc)
		rc = hash_whole(c, id, bytes, md5);
	if (!rc) {
		cached_fill(&row, id, md5, datadir_era(c->data));
		rc = cache_commit(c, file_id, &row, files_forgive);
		cache_upkeep(c);
	}
	if (rc)
		cache_fetch_drop(c, token);
	else
		memcpy(ret_md5, md5, sizeof(md5));
	return rc;
}
