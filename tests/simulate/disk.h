/*
 * disk: the disk of each host, in memory: what is there now, and what would be there after a power
 * cut. A write, a cut or a change of an entry is only on stable storage after the sync of the file
 * or of the directory. A power cut keeps any of a file's later writes, whole or torn, and the first
 * few changes of entries, as a journal does.
 */
#ifndef UPLOADFS_TESTS_SIMULATE_DISK_H
#define UPLOADFS_TESTS_SIMULATE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct disk_file {
	unsigned refs; /* entries, changes of entries, descriptors */
	unsigned host, nr;
	bool is_dir;
	unsigned char *now, *base; /* base: what is on stable storage */
	size_t len, room, base_len, base_room;
	struct disk_op *ops, **last; /* since the last sync */
	uint64_t mtime_ms;
	unsigned failures; /* of write-back so far; a descriptor tells each once */
};

void disk_reset(void);
struct disk_file *disk_find(const char *path, unsigned *ret_host); /* absolute; NULL: none */
struct disk_file *disk_make(unsigned host, const char *path, bool is_dir);
void disk_unlink(unsigned host, const char *path);
void disk_rename(unsigned host, const char *from, const char *to); /* replaces to */
/* The nth entry directly below dir; NULL: no more. */
const char *disk_entry(unsigned host, const char *dir, unsigned nth);
void disk_put(struct disk_file *f); /* drops a reference */

/* Bytes, or negative errno. */
ssize_t disk_read(struct disk_file *f, void *buf, size_t len, uint64_t off);
ssize_t disk_write(struct disk_file *f, const void *buf, size_t len, uint64_t off);
int disk_truncate(struct disk_file *f, uint64_t len);
int disk_sync(struct disk_file *f);
void disk_sync_entries(unsigned host);
void disk_keep(struct disk_file *f); /* what was written is on stable storage */
uint64_t disk_free_bytes(unsigned host);

void disk_cut_power(unsigned host);
/* Faults are on or off; forced: a full disk. */
void disk_set_faults(unsigned per_mille);
void disk_fill(unsigned host, bool full);
bool disk_has_failed(unsigned host); /* a fault since the last disk_forgive() */
void disk_forgive(unsigned host);

void sys_close_all(unsigned host); /* the descriptors of a daemon that was killed */
void sys_reset(void);
void dbfile_init(void);
void dbfile_reset(void);
void dbfile_forget(unsigned host); /* its daemon was killed */

#endif
