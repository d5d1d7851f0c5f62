/*
 * cache_check: the MD5 of content on disk.
 */
#ifndef UPLOADFS_FS_CONTENT_CACHE_CHECK_H
#define UPLOADFS_FS_CONTENT_CACHE_CHECK_H

#include <stdint.h>

#include "net/base/digest.h"

/* Feed [off, off + len) of fd to d. 0; -EIO: the file is shorter; another negative errno. */
int cache_hash_range(int fd, uint64_t off, uint64_t len, struct digest *d);
/* The MD5 of the first bytes bytes of fd. Blocks as long as reading takes. 0 or negative errno. */
int cache_hash(int fd, uint64_t bytes, char ret_md5[DIGEST_HEX_SIZE]);

#endif
