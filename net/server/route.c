/* route: see route.h. */
#include "net/server/route.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct rule {
	const char *method, *head, *tail; /* path: head, an id when tail is not NULL, tail */
	const char *allow;
	enum op op;
};

static const struct rule rules[] = {
	{ "POST", "/v1/uploads", NULL, "POST", OP_CREATE },
	{ "POST", "/v1/uploads/", "/parts", "POST", OP_PART },
	{ "POST", "/v1/uploads/", "/complete", "POST", OP_COMPLETE },
	{ "POST", "/v1/uploads/", "/cancel", "POST", OP_CANCEL },
	{ "GET", "/v1/files", NULL, "GET, POST", OP_LIST },
	{ "POST", "/v1/files", NULL, "GET, POST", OP_UPLOAD_FILE },
	{ "GET", "/v1/files/", "", "GET, DELETE", OP_GET },
	{ "DELETE", "/v1/files/", "", "GET, DELETE", OP_DELETE },
	{ "GET", "/v1/files/", "/content", "GET", OP_CONTENT },
};

static const char *const names[OP_COUNT] = {
	"create", "part", "complete", "cancel", "list", "get", "delete", "content", "upload_file",
};

const char *route_op_name(enum op op)
{
	return op < OP_COUNT ? names[op] : NULL;
}

static bool path_matches(const struct rule *rule, const char *path, char ret_id[ROUTE_ID_SIZE])
{
	size_t head = strlen(rule->head), len;

	if (!rule->tail)
		return !strcmp(path, rule->head);
	if (strncmp(path, rule->head, head))
		return false;
	len = strcspn(path + head, "/");
	if (!len || len >= ROUTE_ID_SIZE || strcmp(path + head + len, rule->tail))
		return false;
	snprintf(ret_id, ROUTE_ID_SIZE, "%.*s", (int)len, path + head);
	return true;
}

int route_parse(const char *method, const char *path, struct route *ret)
{
	const char *allow = NULL;
	char id[ROUTE_ID_SIZE] = "";
	size_t i;

	for (i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		if (!path_matches(&rules[i], path, id))
			continue;
		allow = rules[i].allow;
		if (strcmp(method, rules[i].method))
			continue;
		ret->op = rules[i].op;
		ret->allow = allow;
		snprintf(ret->id, sizeof(ret->id), "%s", id);
		return 0;
	}
	if (!allow)
		return -ENOENT;
	ret->allow = allow;
	return -EPERM;
}
