/*
 * route: find the operation a request asks for. Pure, any thread.
 */
#ifndef UPLOADFS_NET_SERVER_ROUTE_H
#define UPLOADFS_NET_SERVER_ROUTE_H

#include <stdbool.h>

enum op {
	OP_CREATE,
	OP_PART,
	OP_COMPLETE,
	OP_CANCEL,
	OP_LIST,
	OP_GET,
	OP_DELETE,
	OP_CONTENT,
	OP_UPLOAD_FILE,
	OP_COUNT,
	OP_NONE = OP_COUNT /* no such operation */
};

#define ROUTE_ID_SIZE 128

struct route {
	enum op op;
	bool dated;		/* azure: below /openai, with ?api-version= */
	char id[ROUTE_ID_SIZE]; /* of the Upload or File in the path; "" when none */
	const char *allow;	/* the methods of the path, for -EPERM */
};

/*
 * Fill ret but for dated. 0, -ENOENT (no such path) or -EPERM (the path, but not with that method;
 * ret->allow is set).
 */
int route_parse(const char *method, const char *path, struct route *ret);
/* "create", "part", …; NULL for OP_NONE. */
const char *route_op_name(enum op op);

#endif
