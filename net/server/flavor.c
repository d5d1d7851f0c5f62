/* flavor: see flavor.h. */
#include "net/server/flavor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/server/model.h"

#define AZURE_UPLOAD_MAX (9ULL * 1000 * 1000 * 1000)
#define PATH_MAX_LEN 1024

int flavor_parse(const char *name, enum flavor *ret)
{
	static const char *const names[FLAVOR_COUNT] = {
		[FLAVOR_OPENAI] = "openai",
		[FLAVOR_AZURE] = "azure",
		[FLAVOR_SEQUENTIAL] = "sequential",
		[FLAVOR_FILES_ONLY] = "files-only",
	};
	int i;

	for (i = 0; i < FLAVOR_COUNT; i++) {
		if (!strcmp(name, names[i])) {
			*ret = (enum flavor)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *flavor_base(enum flavor flavor)
{
	return flavor == FLAVOR_AZURE ? "/openai/v1" : "/v1";
}

/* Convert Azure's path to OpenAI's: 0, or -ENOENT. */
static int from_azure(const char *path, const char *version, char ret[PATH_MAX_LEN])
{
	static const char dated[] = "/openai", latest[] = "/openai/v1/";

	if (!strncmp(path, latest, strlen(latest)))
		path += strlen(latest) - 1;
	else if (!strncmp(path, dated, strlen(dated)) && version && *version)
		path += strlen(dated);
	else
		return -ENOENT;
	if (strlen(path) + sizeof("/v1") > PATH_MAX_LEN)
		return -ENOENT;
	snprintf(ret, PATH_MAX_LEN, "/v1%s", path);
	return 0;
}

int flavor_route(enum flavor flavor, const char *method, const char *path, const char *version,
		 struct route *ret)
{
	char plain[PATH_MAX_LEN];
	int err;

	if (flavor == FLAVOR_AZURE) {
		if (from_azure(path, version, plain))
			return -ENOENT;
		path = plain;
	}
	err = route_parse(method, path, ret);
	if (flavor == FLAVOR_FILES_ONLY && !strncmp(path, "/v1/uploads", strlen("/v1/uploads")))
		return -ENOENT;
	return err;
}

int flavor_status(enum flavor flavor, enum op op)
{
	bool makes = op == OP_CREATE || op == OP_PART || op == OP_COMPLETE || op == OP_UPLOAD_FILE;

	return flavor == FLAVOR_AZURE && makes ? 201 : 200;
}

uint64_t flavor_upload_max(enum flavor flavor)
{
	return flavor == FLAVOR_AZURE ? AZURE_UPLOAD_MAX : SERVER_UPLOAD_MAX;
}
