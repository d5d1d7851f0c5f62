/* filespec: see filespec.h. */
#include "net/server/filespec.h"

#include <stdio.h>
#include <string.h>

#include "net/server/fields.h"
#include "net/server/model.h"

#define EXPIRY_MIN 3600
#define EXPIRY_MAX 2592000

static int refuse_purpose(const char *purpose, const char *const *purposes, struct refusal *r)
{
	char list[200] = "";
	size_t len = 0;

	for (; *purposes && len < sizeof(list); purposes++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s'%s'", len ? ", " : "",
					*purposes);
	return refuse(r, 400, "purpose", NULL, "'%.100s' is not one of [%s] - 'purpose'", purpose,
		      list);
}

int file_spec_check(const char *filename, const char *purpose, const char *const *purposes,
		    struct refusal *r)
{
	const char *const *p;

	if (!*filename || strlen(filename) > SERVER_FILENAME_MAX)
		return refuse(r, 400, "filename", NULL,
			      "Invalid 'filename': expected 1 to %d bytes.", SERVER_FILENAME_MAX);
	for (p = purposes; *p && strcmp(*p, purpose); p++)
		;
	return *p ? 0 : refuse_purpose(purpose, purposes, r);
}

int expiry_check(const char *anchor, uint64_t seconds, struct refusal *r, uint64_t *ret)
{
	if (strcmp(anchor, "created_at"))
		return refuse(r, 400, "expires_after.anchor", NULL,
			      "Invalid 'expires_after.anchor': expected 'created_at'.");
	if (seconds < EXPIRY_MIN || seconds > EXPIRY_MAX)
		return refuse(r, 400, "expires_after.seconds", NULL,
			      "Invalid 'expires_after.seconds': expected %d to %d.", EXPIRY_MIN,
			      EXPIRY_MAX);
	*ret = seconds;
	return 0;
}

int expiry_from_json(const struct json *j, struct refusal *r, uint64_t *ret)
{
	static const char at[] = "expires_after", *const known[] = { "anchor", "seconds", NULL };
	const struct json *m;
	const char *anchor;
	uint64_t seconds;
	int err;

	if (!json_is_object(j))
		return field_type(r, at, "an object");
	err = field_known(r, j, at, known);
	if (!err)
		err = field_string(r, j, at, "anchor", &anchor);
	if (err)
		return err;
	m = json_get(j, "seconds");
	if (!m)
		return field_missing(r, "expires_after.seconds");
	if (json_u64(m, &seconds))
		return field_type(r, "expires_after.seconds", "an integer");
	return expiry_check(anchor, seconds, r, ret);
}
