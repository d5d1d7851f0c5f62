/*
 * area: all staged files: their space, and what an earlier daemon left. Their bytes lie in the
 * directory of data files (fs/state/data.h).
 *
 * All functions may be called from any thread and block on the local disk at most.
 */
#ifndef UPLOADFS_FS_STAGE_AREA_H
#define UPLOADFS_FS_STAGE_AREA_H

#include <stdint.h>

struct datadir;
struct pool;
struct statedb;
struct staging;

struct staging_config {
	uint64_t part_size;   /* bytes that share a version, > 0: layout_block() */
	uint64_t size_max;    /* bytes all staged files may take together; 0: the disk decides */
	uint64_t reserve;     /* bytes left free on the disk */
	struct pool *pool;    /* of MD5; borrowed; outlives the area */
	struct datadir *data; /* borrowed; outlives the area */
	struct statedb *db;   /* the same */
};

/*
 * Make the area. The caller frees *ret by staging_close(). 0; -EINVAL: no pool, part size, store or
 * data directory; -ENOMEM.
 */
int staging_open(const struct staging_config *cfg, struct staging **ret);
/*
 * Begin to write bytes back on disk (borrowed) while they come, since closes will sync them. NULL,
 * the default: leave that to the kernel. Set NULL before the worker ends.
 */
void staging_set_worker(struct staging *sg, struct pool *disk);
/* Call it after the last staged_unref(). NULL is a no-op. */
void staging_close(struct staging *sg);

struct staging_space {
	uint64_t used;		       /* bytes of all staged files: their sizes, holes included */
	uint64_t disk_size, disk_free; /* bytes of the file system it is on, as statvfs tells */
	unsigned files;
};
/* 0 or negative errno of statvfs. */
int staging_get_space(struct staging *sg, struct staging_space *ret);

/*
 * Call fn for the id of each row, in order of the ids; fn may open or set aside that id. Stops at
 * fn's error and returns it.
 */
int staging_scan(struct staging *sg, int (*fn)(void *arg, const char *id), void *arg);
/* Move the data of id to data/damaged/ and mark its row. 0 or negative errno. */
int staging_set_aside(struct staging *sg, const char *id);

#endif
