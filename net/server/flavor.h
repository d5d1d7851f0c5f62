/*
 * flavor: the services beside OpenAI's that the server can play.
 *
 * azure        paths below /openai/v1, or below /openai with ?api-version=; the key in api-key;
 *              201 for a new object; refusals without type and param; the File in the reply
 *              to a complete is pending, and its bytes are null; 9 GB an Upload. (api.md, D)
 * sequential   Parts are numbered as they begin: an overtaken Part is refused, and complete
 *              wants ascending order and at least 5 MiB in each Part but the last.
 * files-only   there is no /uploads; POST /files takes 512 MiB.
 *
 * Pure, any thread.
 */
#ifndef UPLOADFS_NET_SERVER_FLAVOR_H
#define UPLOADFS_NET_SERVER_FLAVOR_H

#include <stdbool.h>
#include <stdint.h>

#include "net/server/route.h"

#define FLAVOR_PART_MIN (5ULL << 20) /* sequential: bytes of a Part, but for the last */

enum flavor { FLAVOR_OPENAI, FLAVOR_AZURE, FLAVOR_SEQUENTIAL, FLAVOR_FILES_ONLY, FLAVOR_COUNT };

/* Find a flavor by its name. 0 or -EINVAL. */
int flavor_parse(const char *name, enum flavor *ret);
/* Return the end of the base URL: "/v1" or the like. */
const char *flavor_base(enum flavor flavor);
/* Do route_parse() for the paths of this flavor. version: the query's api-version, or NULL. */
int flavor_route(enum flavor flavor, const char *method, const char *path, const char *version,
		 struct route *ret);
int flavor_status(enum flavor flavor, enum op op); /* HTTP status of success */
uint64_t flavor_upload_max(enum flavor flavor);	   /* bytes of an Upload */

#endif
