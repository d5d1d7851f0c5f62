/*
 * filespec: check the properties of a new File, for an Upload or POST /files. Pure, any thread;
 * errors as in refusal.h.
 */
#ifndef UPLOADFS_NET_SERVER_FILESPEC_H
#define UPLOADFS_NET_SERVER_FILESPEC_H

#include <stdint.h>

#include "net/base/json.h"
#include "net/server/refusal.h"

/* Check that the name is neither empty nor too long and that the purpose is in a list with NULL. */
int file_spec_check(const char *filename, const char *purpose, const char *const *purposes,
		    struct refusal *r);
/* expires_after: anchor created_at, 3600 to 2592000 seconds. */
int expiry_check(const char *anchor, uint64_t seconds, struct refusal *r, uint64_t *ret);
/* The same from the JSON object {"anchor","seconds"}, which nothing else may be in. */
int expiry_from_json(const struct json *j, struct refusal *r, uint64_t *ret);

#endif
