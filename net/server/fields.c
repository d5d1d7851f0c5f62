/* fields: see fields.h. */
#include "net/server/fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PATH_SIZE 160 /* longer ones are cut: they are shown only */

static const char *join(const char *at, const char *name, char ret_path[PATH_SIZE])
{
	snprintf(ret_path, PATH_SIZE, "%s%s%s", at, *at ? "." : "", name);
	return ret_path;
}

int field_missing(struct refusal *r, const char *path)
{
	return refuse(r, 400, path, "missing_required_parameter",
		      "Missing required parameter: '%s'.", path);
}

int field_unknown(struct refusal *r, const char *path)
{
	return refuse(r, 400, path, "unknown_parameter", "Unknown parameter: '%.100s'.", path);
}

int field_type(struct refusal *r, const char *path, const char *wanted)
{
	return refuse(r, 400, path, "invalid_type", "Invalid type for '%s': expected %s.", path,
		      wanted);
}

int field_body(struct refusal *r, const char *text, size_t len, struct json **ret)
{
	struct json *j;
	int err = json_parse(text, len, &j);

	if (err == -ENOMEM)
		return err;
	if (err)
		return refuse(r, 400, NULL, NULL,
			      "We could not parse the JSON body of your request.");
	if (!json_is_object(j)) {
		json_free(j);
		return refuse(r, 400, NULL, NULL, "The body of the request must be a JSON object.");
	}
	*ret = j;
	return 0;
}

int field_known(struct refusal *r, const struct json *obj, const char *at, const char *const *known)
{
	const struct json *m;
	const char *const *k;
	char path[PATH_SIZE];

	for (m = json_first(obj); m; m = json_next(m)) {
		for (k = known; *k && strcmp(*k, json_key(m)); k++)
			;
		if (!*k)
			return field_unknown(r, join(at, json_key(m), path));
	}
	return 0;
}

int field_string(struct refusal *r, const struct json *obj, const char *at, const char *name,
		 const char **ret)
{
	const struct json *m = json_get(obj, name);
	char path[PATH_SIZE];

	if (!m)
		return field_missing(r, join(at, name, path));
	if (!json_is_string(m))
		return field_type(r, join(at, name, path), "a string");
	*ret = json_str(m);
	return 0;
}
