/*
 * dir: a stable snapshot of a directory for readdir. Not thread-safe; the
 * kernel reads one open directory from one request at a time.
 */
#ifndef UPLOADFS_FS_TREE_SNAPSHOT_H
#define UPLOADFS_FS_TREE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dir;

struct dir *dir_new(uint64_t ino); /* snapshot of inode ino; NULL: out of memory */
uint64_t dir_ino(const struct dir *d);
void dir_free(struct dir *d); /* NULL is a no-op; unlinks d from its list */
/* Put d on a list of the caller's, which can free snapshots never closed. */
void dir_link(struct dir *d, struct dir **list);
void dir_clear(struct dir *d); /* drop the entries, keep their memory */
int dir_add(struct dir *d, const char *name, uint64_t ino, bool is_dir); /* 0 or -ENOMEM */
/*
 * Return the name of entry n, counted from 0; NULL behind the last. Valid until dir_clear() or
 * dir_free().
 */
const char *dir_entry(const struct dir *d, size_t n, uint64_t *ret_ino, bool *ret_is_dir);

#endif
