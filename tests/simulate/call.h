/* call: a call of the API on its way: call.c has the daemon's end, service.c the service's. */
#ifndef UPLOADFS_TESTS_SIMULATE_CALL_H
#define UPLOADFS_TESTS_SIMULATE_CALL_H

#include "net/api/api.h"

enum call_op {
	OP_CREATE,
	OP_PART,
	OP_COMPLETE,
	OP_CANCEL,
	OP_UPLOAD,
	OP_LIST,
	OP_GET,
	OP_DELETE,
	OP_CONTENT
};

enum call_state {
	CALL_NEW,  /* the daemon has to send it */
	CALL_SENT, /* it waits to be done */
	CALL_DONE  /* the daemon has to take the answer */
};

struct sim_file;

/* In the world's memory, but for req: it outlives its daemon. */
struct call {
	struct call *next;
	enum call_op op;
	enum call_state state;
	unsigned host;
	struct api_req *req; /* in the daemon's memory */
	struct api *api;
	char id[1100], *filename, *purpose, *md5, **part_ids;
	size_t part_count;
	uint64_t offset, len;
	unsigned limit;
	bool desc;
	unsigned char *body;
	size_t body_len;
	/* the answer */
	struct api_error err;
	struct api_upload upload;
	struct api_part part;
	struct api_file file;
	struct sim_file **page;
	size_t page_count;
	bool more;
};

extern struct call *calls;

const char *call_name(const struct call *c); /* static */
struct call *call_copy(const struct call *c);
void call_answered(struct call *c);
void service_view(const struct sim_file *f, struct api_file *ret);

#endif
