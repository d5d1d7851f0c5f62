/*
 * api_call: what the endpoints have in common. Internal to net/api*.c.
 *
 * An endpoint makes a request that embeds struct api_req as its first member,
 * gives it a path, a body and a struct api_call_ops, and submits it. All of
 * ops run on the network thread.
 */
#ifndef UPLOADFS_NET_API_CALL_H
#define UPLOADFS_NET_API_CALL_H

#include "net/api/api.h"
#include "net/base/buf.h"
#include "net/http/queue.h"
#include "net/base/json.h"

#define API_REPLY_MAX (1U << 20) /* one object */
#define API_LIST_MAX (64U << 20) /* a page of 10000 Files */
#define API_GARBLED_RETRIES 2

/* The time-outs of a kind of request, as multiples of idle_timeout_s; see api_set_limits(). */
enum api_limits { API_LIMITS_CALL, API_LIMITS_COMPLETE, API_LIMITS_BODY, API_LIMITS_FILE };

struct api_call_ops {
	enum api_op op;
	/* Checks a 2xx reply and keeps what finish() needs of it; NULL, or what is wrong. */
	const char *(*take)(struct api_req *req, const struct json *reply);
	/* Replaces take() for a reply that is not to be parsed; the reply is freed afterwards. */
	const char *(*take_text)(struct api_req *req, const char *body, size_t len);
	/* Calls the caller's callback with req->err; the reply that take() saw still lives. */
	void (*finish)(struct api_req *req);
	/* Frees what the endpoint added, but not req itself. NULL: nothing. */
	void (*release)(struct api_req *req);
	/* Adds to the request of an attempt. NULL: nothing. */
	void (*prepare)(struct api_req *req, struct http_request *rq);
	/*
	 * Replaces the common treatment of a reply if it returns true; false: the common treatment
	 * follows.
	 */
	bool (*judge)(struct api_req *req, const struct http_result *res, struct hq_verdict *v);
};

struct api_req {
	struct hq_job job;
	struct api *api; /* not after the end: api_free() does not wait for references */
	const struct api_call_ops *ops;
	enum http_method method;
	enum api_limits limits;
	bool lasting;	    /* a 5xx may come from a proxy after the work was done, and matters */
	bool once;	    /* never retry if the work may have been done; with lasting */
	bool may_be_absent; /* a 501 says that there is no such endpoint */
	bool again_if_garbled; /* doing it twice is harmless */
	bool brief; /* a service that can't be reached is tried for connect_timeout_s, and again */
	size_t reply_max;
	char *path; /* path after the base URL; NULL: refusal says why */
	const char *refusal;
	struct buf body; /* JSON of a POST */
	struct http_part part;
	bool has_part;
	char range[48]; /* a header, or "" */
	struct json *reply;
	struct api_error err;
	/* Per attempt: */
	char *url, *auth;
	const char *headers[4], *auth_headers[4];
};

/* A zeroed request of size bytes. NULL: out of memory. */
struct api_req *api_call_new(struct api *api, size_t size, const struct api_call_ops *ops,
			     enum hq_class class, uint64_t fairness);
/* Sets the path: before, id, after. A malformed id makes the call fail with API_ERR_CONFIG. */
void api_call_path(struct api_req *req, const char *before, const char *id, const char *after);
/* Submits req. NULL: out of memory, and req was freed. */
struct api_req *api_call_submit(struct api_req *req);

#endif
