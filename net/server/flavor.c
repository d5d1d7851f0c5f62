/* flavor: see flavor.h. */
#include "net/server/flavor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/server/model.h"

#define AZURE_UPLOAD_MAX (9ULL * 1000 * 1000 * 1000)
#define PATH_MAX_LEN 1024
#define UPLOAD_TTL_S 3600
#define AZURE_UPLOAD_TTL_S 7200
#define BATCH_TTL_S (30 * 86400)

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
static int from_azure(const char *path, const char *version, char ret[PATH_MAX_LEN],
		      bool *ret_dated)
{
	static const char dated[] = "/openai", latest[] = "/openai/v1/";
	bool is_dated = strncmp(path, latest, strlen(latest)) != 0;

	if (!is_dated)
		path += strlen(latest) - 1;
	else if (!strncmp(path, dated, strlen(dated)) && version && *version)
		path += strlen(dated);
	else
		return -ENOENT;
	if (strlen(path) + sizeof("/v1") > PATH_MAX_LEN)
		return -ENOENT;
	snprintf(ret, PATH_MAX_LEN, "/v1%s", path);
	*ret_dated = is_dated;
	return 0;
}

int flavor_route(enum flavor flavor, const char *method, const char *path, const char *version,
		 struct route *ret)
{
	char plain[PATH_MAX_LEN];
	int err;

	ret->dated = false;
	if (flavor == FLAVOR_AZURE) {
		if (from_azure(path, version, plain, &ret->dated))
			return -ENOENT;
		path = plain;
	}
	err = route_parse(method, path, ret);
	if (flavor == FLAVOR_FILES_ONLY && !strncmp(path, "/v1/uploads", strlen("/v1/uploads")))
		return -ENOENT;
	return err;
}

int flavor_status(enum flavor flavor, const struct route *route)
{
	return flavor == FLAVOR_AZURE && route->dated && route->op == OP_UPLOAD_FILE ? 201 : 200;
}

uint64_t flavor_upload_max(enum flavor flavor)
{
	return flavor == FLAVOR_AZURE ? AZURE_UPLOAD_MAX : SERVER_UPLOAD_MAX;
}

unsigned flavor_upload_ttl_s(enum flavor flavor)
{
	return flavor == FLAVOR_AZURE ? AZURE_UPLOAD_TTL_S : UPLOAD_TTL_S;
}

const char *const *flavor_purposes(enum flavor flavor, const struct route *route)
{
	static const char *const openai[] = { "assistants", "batch", "fine-tune", "vision",
					      "user_data",  "evals", NULL };
	static const char *const azure_uploads[] = { "fine-tune",  "fine-tune-results",
						     "assistants", "assistants_output",
						     "batch",	   "batch_output",
						     NULL };
	static const char *const azure_files[] = { "fine-tune",	 "fine-tune-results",
						   "assistants", "assistants_output",
						   "batch",	 NULL };
	/* POST /files below /openai/v1 has a description of its own, which adds one. */
	static const char *const azure_v1_files[] = { "fine-tune",  "fine-tune-results",
						      "assistants", "assistants_output",
						      "batch",	    "evals",
						      NULL };

	if (flavor != FLAVOR_AZURE)
		return openai;
	if (route->op != OP_UPLOAD_FILE)
		return azure_uploads;
	return route->dated ? azure_files : azure_v1_files;
}

uint64_t flavor_file_ttl_s(enum flavor flavor, const char *purpose)
{
	/* Azure's description knows no such rule. */
	return flavor != FLAVOR_AZURE && !strcmp(purpose, "batch") ? BATCH_TTL_S : 0;
}
