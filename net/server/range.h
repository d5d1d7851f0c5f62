/* range: the header Range of a request. Pure, any thread. */
#ifndef UPLOADFS_NET_SERVER_RANGE_H
#define UPLOADFS_NET_SERVER_RANGE_H

#include <stdint.h>

/*
 * Parse a range of a File of size bytes; NULL: no header. 0, and at least one byte of the File;
 * -ENOENT (no range to honour: none, several, or another unit), -ERANGE (the range lies outside the
 * File).
 */
int range_parse(const char *header, uint64_t size, uint64_t *ret_start, uint64_t *ret_len);

#endif
