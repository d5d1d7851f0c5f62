/*
 * filespec: what is asked of a new File, by an Upload or POST /files alike.
 *
 * Pure, any thread; errors as in refusal.h.
 */
#ifndef UPLOADFS_NET_SERVER_FILESPEC_H
#define UPLOADFS_NET_SERVER_FILESPEC_H

#include <stdint.h>

#include "net/server/refusal.h"

/* The name is not empty and not too long; the purpose is one that may be given. */
int file_spec_check(const char *filename, const char *purpose, struct refusal *r);
/* expires_after: anchor created_at, 3600 to 2592000 seconds. */
int expiry_check(const char *anchor, uint64_t seconds, struct refusal *r, uint64_t *ret);

#endif
