/*
 * fields: check the members of a request's JSON. Each function refuses with 400 and the path of the
 * member ("expires_after.seconds"): `at` is the path of the object itself, "" for the body. Pure,
 * any thread; errors as in refusal.h.
 */
#ifndef UPLOADFS_NET_SERVER_FIELDS_H
#define UPLOADFS_NET_SERVER_FIELDS_H

#include "net/base/json.h"
#include "net/server/refusal.h"

/* Refuse since a member is missing, unknown, or of another type than `wanted`. Return -EPROTO. */
int field_missing(struct refusal *r, const char *path);
int field_unknown(struct refusal *r, const char *path);
int field_type(struct refusal *r, const char *path, const char *wanted);
/* Parse a body that must be one JSON object. The caller frees *ret. Also -ENOMEM. */
int field_body(struct refusal *r, const char *text, size_t len, struct json **ret);
/* Check that every member of an object is in `known`, a list that ends with NULL. */
int field_known(struct refusal *r, const struct json *obj, const char *at,
		const char *const *known);
/* Take a member that must be a string. *ret lives as long as obj. */
int field_string(struct refusal *r, const struct json *obj, const char *at, const char *name,
		 const char **ret);

#endif
