/*
 * data: STATE_DIR/data (0700), the one directory of data files: ID.data, the bytes of staged files
 * (0600) and of cached content (0400). A data file never changes its name; its owner is a row of
 * the store (files.h, cached.h), and a change of owner is a change of rows.
 *
 * Order: the file exists before its row is committed; it is unlinked after the commit that dropped
 * the row is durable. A crash in between leaves an orphan, or a note in table doomed, and the next
 * datadir_open() clears both up.
 *
 * data/uuid holds the UUID of the database that the files belong to. Orphans of another database
 * are left alone.
 *
 * Threads: any. Blocks on the local disk.
 */
#ifndef UPLOADFS_FS_STATE_DATA_H
#define UPLOADFS_FS_STATE_DATA_H

#include <stdbool.h>
#include <stddef.h>

struct datadir;
struct pool;
struct statedb;

#define DATA_ID_LEN 16		       /* hex digits */
#define DATA_ID_SIZE (DATA_ID_LEN + 1) /* with NUL */
#define DATA_NAME_SIZE 32	       /* ID with its ending, and NUL */
#define DATA_ERA_SIZE 64
#define DATA_DIR "data"
#define DATA_END ".data"  /* the ending of a data file */
#define DATA_COPY ".copy" /* of one that is copied anew after a failed sync, and then renamed */
#define DATA_DAMAGED "damaged"

/* True if id is DATA_ID_LEN hex digits. */
bool data_id_valid(const char *id);
/* ret: id and DATA_END. */
void data_name(char ret[DATA_NAME_SIZE], const char *id);

/*
 * Lock STATE_DIR/data, made where it is missing, and clear up after a dead daemon: unlink doomed
 * data; if the database is intact and its UUID is that of data/, move orphans with bytes to
 * data/damaged/ and unlink empty ones. Defines the tables file and cached. db (borrowed) outlives
 * *ret, which the caller frees by datadir_close().
 *
 * 0; -EBUSY: another process or struct datadir has the lock; -EPROTONOSUPPORT: records of a former
 * version, logged; another negative errno.
 */
int datadir_open(const char *state_dir, struct statedb *db, struct datadir **ret);
/* Unlink what is doomed, then free. NULL is a no-op. */
void datadir_close(struct datadir *d);
/*
 * Unlink data on disk (borrowed) from now on, since a durable commit comes before. NULL, the
 * default: unlink on the calling thread. Set NULL before the worker ends.
 */
void datadir_set_worker(struct datadir *d, struct pool *disk);

/* The directory's descriptor, for statvfs; valid as long as d. */
int datadir_fd(const struct datadir *d);
/*
 * Name the boot of this host and the mount of the file system that data/ is on; valid as long as d.
 * Bytes written without a sync in another era may have been lost by a power cut. "": unknown.
 */
const char *datadir_era(const struct datadir *d);
/* Make an empty data file under a new random id. *ret_fd: O_RDWR. 0 or negative errno. */
int datadir_create(struct datadir *d, char ret_id[DATA_ID_SIZE], int *ret_fd);
/*
 * Open ID.data with flags (O_RDONLY or O_RDWR, perhaps O_CREAT | O_EXCL). The file may be of any
 * type: check it. A file descriptor, or negative errno; -ELOOP: a symbolic link.
 */
int datadir_open_file(struct datadir *d, const char *id, int flags);
/*
 * Make ID.data read-only (0400), since it is cached content from now on. For scripts, which can't
 * read the rows; best effort.
 */
void datadir_protect(struct datadir *d, const char *id);
/* Unlink data that no row was ever committed for. */
void datadir_unmake(struct datadir *d, const char *id);
/*
 * Unlink ID.data once all commits up to now are durable, on the disk worker if there is one. The
 * caller has committed files_doom().
 */
void datadir_doom(struct datadir *d, const char *id);
/* Unlink now what is doomed so far; for a disk that is full. Blocks as long as that takes. */
void datadir_flush(struct datadir *d);
/* Move ID.data to data/damaged/; the row is the caller's. 0, also without data; negative errno. */
int datadir_set_aside(struct datadir *d, const char *id);
/* Sync the directory, so that the names of new files survive a power cut. 0 or negative errno. */
int datadir_sync(struct datadir *d);

#endif
