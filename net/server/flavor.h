/*
 * flavor: the services beside OpenAI's that the server can play.
 *
 * azure        as Azure OpenAI's description of 2024-10-21 says: paths below /openai/v1, or below
 *              /openai with ?api-version=, which is called dated here; the key in api-key; 201 with
 *              a Location for a dated POST /files; refusals of a code and a message; purposes of
 *              its own; azure_block_id in Parts; the File in the reply to a complete is pending,
 *              and its bytes are null; an Upload has 9 GB and two hours.
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
int flavor_status(enum flavor flavor, const struct route *route); /* HTTP status of success */
uint64_t flavor_upload_max(enum flavor flavor);			  /* bytes of an Upload */
unsigned flavor_upload_ttl_s(enum flavor flavor);		  /* lifetime of an Upload */
/* Return the purposes that a new File may have; the list ends with NULL. */
const char *const *flavor_purposes(enum flavor flavor, const struct route *route);
/* Return the lifetime in seconds of a File for which none was asked; 0: it stays. */
uint64_t flavor_file_ttl_s(enum flavor flavor, const char *purpose);

#endif
