/*
 * api: one function per endpoint of the Uploads and Files API.
 *
 * Every call is asynchronous: it returns at once, and its callback runs exactly
 * once, on the network thread, also after api_req_cancel() and at api_free().
 * A callback must not block, and must not call api_free(); it may start other
 * calls. Calls may be made from any thread. Strings and arrays given to a call
 * are copied, except the body of a part: its fd must stay open and its bytes in
 * place until the callback. Pointers given to a callback live until it returns.
 *
 * Retries (408, 409, 429, >= 500, connection errors, time-outs), the back-off
 * common to all requests after a 429, and the cap on requests under way happen
 * below this interface; the callback sees the final outcome.
 *
 * Replies are hostile input: bounded in size, of the expected type, ids of 1 to
 * API_ID_MAX bytes. Only what names an object is required: an id, and what is
 * said of a call. Other members may be missing or make no sense: they are
 * unknown then. A number loses its fraction; a time in milliseconds (micro-,
 * nanoseconds) is brought to seconds. A 2xx reply that fails a check is
 * API_ERR_BAD_REPLY, and http_status keeps the status; what may be done twice
 * without harm (all but complete and cancel) is asked for again before that,
 * twice. A complete or a POST /files is sent again only if it did nothing for
 * certain.
 *
 * No call hangs for ever. Besides connect_timeout_s, and counted for each
 * attempt: no byte moved while a request or a reply is on its way,
 * idle_timeout_s; no answer to a request that was sent whole, twice that, and
 * ten times that for a complete, since the server may read 8 GiB to hash them;
 * a call as a whole, twelve times; a part or content as a whole, sixty times
 * and at least an hour, as long as an Upload lives.
 */
#ifndef UPLOADFS_NET_API_API_H
#define UPLOADFS_NET_API_API_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/base/hist.h"
#include "net/http/network.h"

#define API_ID_MAX 1024 /* bytes of an id; any but NUL */
#define API_WORD_MAX 127
/* Bytes of payload in a Part (D: 64 MB; S: the SDK sends 64 MiB). */
#define API_PART_MAX (64ULL << 20)
#define API_UPLOAD_MAX (8ULL << 30) /* bytes of an Upload (D) */
#define API_FILE_MAX (512ULL << 20) /* bytes that POST /files takes (D: 512 MB) */
#define API_UPLOAD_TTL_S 3600	    /* an Upload expires after this time (D, R) */
#define API_EXPIRY_MIN_S 3600	    /* bounds of expires_after (D) */
#define API_EXPIRY_MAX_S 2592000
#define API_FILENAME_MAX 16384 /* longest filename taken from a reply, in bytes */

struct api;
struct api_req;

struct api_config {
	const char *base_url; /* "https://host/v1", with or without a trailing slash */
	const char *key;      /* NULL or "": no Authorization header */
	const char *organization, *project; /* NULL or "": no header */
	const char *user_agent;
	bool azure;		 /* send the key in the header api-key, as Azure OpenAI wants it */
	const char *api_version; /* query parameter api-version of each request; NULL or "": none */
	bool allow_http;	 /* send the key over plain http to other hosts than loopback */
	unsigned parallel;	 /* Parts under way at once, >= 1 */
	unsigned connect_timeout_s;    /* 0: 10 */
	unsigned idle_timeout_s;       /* seconds without a byte until cut and retried; 0: 60 */
	unsigned retry_timeout_s;      /* seconds of retrying after the first failure; 0: 120 */
	const struct network *network; /* copied; NULL: no proxy, the system's certificates */
};

enum api_err_kind {
	API_OK = 0,
	API_ERR_HTTP,	   /* the server answered with a status outside 2xx */
	API_ERR_CONNECT,   /* cannot resolve, connect, or the connection broke */
	API_ERR_TLS,	   /* the certificate or the handshake */
	API_ERR_TIMEOUT,   /* connect, idle or total time-out */
	API_ERR_BAD_REPLY, /* 2xx, but the reply failed the checks */
	API_ERR_LOCAL,	   /* reading the body or writing the content failed: local_errno */
	API_ERR_CANCELLED, /* api_req_cancel() or api_free() */
	API_ERR_CONFIG	   /* refused before anything was sent, e.g. the key over plain http */
};

struct api_error {
	enum api_err_kind kind;
	enum network_cause cause; /* of API_ERR_CONNECT, _TLS and _TIMEOUT */
	int http_status;	  /* 0 when there was no reply */
	int local_errno;	  /* negative errno for API_ERR_LOCAL, else 0 */
	unsigned attempts;	  /* times the request was sent */
	/*
	 * Milliseconds from the first failure to the end, good or bad; 0 if the first attempt
	 * succeeded.
	 */
	uint64_t retrying_ms;
	/*
	 * An attempt before the last one, or the last, was sent whole but its
	 * reply was lost or garbled: the server may have done the work. For a
	 * create and a complete also after anything but a 2xx or a refusal (a
	 * 1xx, 3xx, 5xx, 408 or 409), which a proxy may have answered. May be
	 * set with API_OK.
	 */
	bool maybe_applied;
	char code[64];	      /* error.code of the API, or "" */
	char type[64];	      /* error.type, or "" */
	char message[512];    /* error.message, or our own words; secrets redacted; one line */
	char request_id[128]; /* x-request-id, or "" */
	int64_t server_time;  /* Date of the last reply, seconds since the epoch; 0: none */
};

enum api_upload_status {
	API_UPLOAD_PENDING,
	API_UPLOAD_COMPLETED,
	API_UPLOAD_CANCELLED,
	API_UPLOAD_EXPIRED,
	API_UPLOAD_OTHER
};

struct api_file {
	const char *id;
	const char *filename; /* any bytes but NUL; may be empty; unknown: the id */
	const char *purpose;  /* 1 to API_WORD_MAX bytes; unknown: API_PURPOSE_UNKNOWN */
	const char *status;   /* any word; NULL: not told */
	/*
	 * status_details of a File whose status is error; in lists only if they are a text. Replies
	 * to complete and POST /files: secrets redacted, one line. NULL: none.
	 */
	const char *details;
	uint64_t bytes;
	bool bytes_unknown; /* missing, null (Azure, for a while), or no size; bytes is 0 */
	bool filename_unknown, purpose_unknown;
	bool failed;	    /* its status is error: it exists, but can't be used */
	int64_t created_at; /* seconds since the epoch; 0: unknown */
	int64_t expires_at; /* 0: never, or unknown */
};

#define API_PURPOSE_UNKNOWN "unknown"

struct api_upload {
	const char *id;
	enum api_upload_status status; /* API_UPLOAD_OTHER also if it is not told */
	bool status_unknown;
	uint64_t bytes;
	bool bytes_unknown;
	int64_t created_at, expires_at; /* seconds since the epoch; 0: unknown */
	bool has_file;
	struct api_file file; /* when has_file */
};

struct api_part {
	const char *id;
	const char *upload_id; /* NULL: not told */
};

struct api_upload_spec {
	const char *filename, *purpose, *mime_type;
	uint64_t bytes;
	uint64_t expires_after_s; /* lifetime of the File; 0: no limit */
};

/* In each callback: err->kind == API_OK and the object, or an error and NULL. */
typedef void api_upload_cb(void *arg, const struct api_error *err, const struct api_upload *up);
typedef void api_part_cb(void *arg, const struct api_error *err, const struct api_part *part);
typedef void api_file_cb(void *arg, const struct api_error *err, const struct api_file *file);
typedef void api_done_cb(void *arg, const struct api_error *err);

/*
 * 0, -EINVAL (bad URL, control characters in the key or another header; a log
 * line says why), -ENOMEM or another negative errno. Starts the network thread.
 * parallel 0 is 1. The environment's proxies do not count, only cfg->network.
 */
int api_new(const struct api_config *cfg, struct api **ret);
/*
 * Fails what is under way with API_ERR_CANCELLED, runs the callbacks, joins the
 * thread. Calls that those callbacks start fail the same way. References to
 * requests outlive it. NULL is a no-op.
 */
void api_free(struct api *api);
/*
 * Replaces the key for requests sent from now on, retries included. NULL or "":
 * none. Any thread. 0, -EINVAL (control characters) or -ENOMEM.
 */
int api_set_key(struct api *api, const char *key);

/*
 * Ends the call early; its callback still runs (API_ERR_CANCELLED, or the outcome if it was
 * quicker). Any thread, the callback's included. Each call returns a reference that stays valid
 * until api_req_unref(), so that a cancel never races with the end of the call. NULL is a no-op for
 * both.
 */
void api_req_cancel(struct api_req *req);
void api_req_unref(struct api_req *req);

/*
 * Each call below returns a referenced request, or NULL when out of memory (the callback does not
 * run then). A malformed id fails with API_ERR_CONFIG. A caller that does not need the request
 * drops it with api_req_unref().
 */

/* POST /uploads. Checked: a status that takes Parts, bytes as asked; either may be missing. */
struct api_req *api_upload_create(struct api *api, const struct api_upload_spec *spec,
				  api_upload_cb *cb, void *arg);

/*
 * POST /uploads/{id}/parts with len bytes of fd from offset, read with pread()
 * on the network thread as they leave; read anew for each retry. fairness: any
 * number that names the file: Parts of different files take turns. filename is
 * sent on the field (the service refuses a part without one), by the offset.
 * Fewer bytes in fd than len: API_ERR_LOCAL with -ENODATA. moving, or NULL: grows by
 * the bytes that were handed to the connection in the attempt under way, all of
 * which are taken back before the callback; it must live until then.
 *
 * ready, or NULL when all len bytes are there: how many of them may be read by
 * now, len in the end; at: how many were. On the network thread, until the
 * callback; must not block, and ready_arg must live until then. When it allows no
 * more than at, the request waits for api_part_feed(), as long as the server
 * bears with it. It is sent only while no Part that is there waits for its turn;
 * it ends with API_ERR_CANCELLED when one does and there is nothing to go on
 * with, and with any failure: it is not tried again before ready() allows len.
 */
struct api_part_body {
	int fd;
	uint64_t offset;
	uint64_t len;
	uint64_t fairness;
	atomic_ullong *moving;
	uint64_t (*ready)(void *arg, uint64_t at);
	void *ready_arg;
};
struct api_req *api_part_add(struct api *api, const char *upload_id,
			     const struct api_part_body *body, api_part_cb *cb, void *arg);
/* Tells that ready() of the Part will allow more. Any thread. */
void api_part_feed(struct api_req *req);

/*
 * POST /uploads/{id}/complete. md5_hex may be NULL. Checked: the id, status completed (or none), a
 * File with an id, file.bytes == bytes; the Upload's bytes if file.bytes is unknown. The caller
 * compares name and purpose. Not retried if the File may exist (maybe_applied): the caller has to
 * look for it.
 */
struct api_req *api_upload_complete(struct api *api, const char *upload_id,
				    const char *const *part_ids, size_t part_count,
				    const char *md5_hex, uint64_t bytes, api_upload_cb *cb,
				    void *arg);

/* POST /uploads/{id}/cancel */
struct api_req *api_upload_cancel(struct api *api, const char *upload_id, api_upload_cb *cb,
				  void *arg);

/*
 * GET /files: one page. after, purpose: NULL for none. limit: 1..10000. desc: newest first.
 * The callback may keep files and text: it sets both to NULL and owes them free().
 */
struct api_file_page {
	struct api_file *files;
	char *text; /* holds the Files' strings */
	size_t count;
	size_t skipped; /* entries without an id, which were left out */
	bool has_more;
	bool stuck; /* the list claims more, but names no place to go on: there is no next page */
	const char *last_id; /* to pass as after; "" if none */
};
typedef void api_page_cb(void *arg, const struct api_error *err, struct api_file_page *page);
struct api_req *api_file_list(struct api *api, const char *purpose, const char *after,
			      unsigned limit, bool desc, api_page_cb *cb, void *arg);

/*
 * The same, newest first, for somebody who waits and has nothing else: a service that can't be
 * reached is tried for connect_timeout_s, and once more.
 */
struct api_req *api_file_list_brief(struct api *api, const char *purpose, const char *after,
				    unsigned limit, api_page_cb *cb, void *arg);

/* GET /files/{id}. Checked: the id. */
struct api_req *api_file_get(struct api *api, const char *file_id, api_file_cb *cb, void *arg);

/*
 * DELETE /files/{id}. Checked: the id, deleted true, unless the reply is a 204
 * without a body (Azure's older versions). A 404 after a try whose
 * reply was lost or garbled is success: the File is gone.
 */
struct api_req *api_file_delete(struct api *api, const char *file_id, api_done_cb *cb, void *arg);

/*
 * GET /files/{id}/content from offset on, len bytes (UINT64_MAX: to the end),
 * asked for by Range. data runs on the network thread with consecutive bytes:
 * offset is where they lie in the File. It returns 0, or a negative errno that
 * ends the call with API_ERR_LOCAL. A server that ignores Range (200) sends
 * everything, and then everything is handed on, from byte 0 to the end; else
 * never more than was asked for. A reply cut short is asked for again from
 * where it broke, within the retry policy. Redirects are followed without the
 * key when they leave the host (name or port), at most five, never from https
 * to http. ranged tells done whether the server honoured Range. An offset at or
 * behind the end is no error: nothing comes of it, or everything; the caller
 * knows the File's size. len 0 is API_ERR_CONFIG. total: the File's size, UINT64_MAX if it is not
 * known; a reply that names another size is API_ERR_LOCAL with -EIO, before any of its bytes is
 * handed on.
 */
typedef int api_data_cb(void *arg, uint64_t offset, const void *data, size_t len);
typedef void api_content_cb(void *arg, const struct api_error *err, bool ranged);
struct api_req *api_file_content(struct api *api, const char *file_id, uint64_t offset,
				 uint64_t len, uint64_t total, api_data_cb *data,
				 api_content_cb *done, void *arg);

/*
 * POST /files: a File in one request, for services without Uploads. Sends the whole of fd from its
 * beginning; fairness and moving as for a Part. If the MD5 of the bytes is not md5_hex, the last
 * bytes are not sent: API_ERR_LOCAL with -EBADMSG, and no File is made. Checked in the reply: bytes
 * (if the service knows them) and purpose. The request is not retried if the File may exist
 * (maybe_applied): the caller has to look for it. Time-outs as for a Part, and for the reply as for
 * a complete.
 */
struct api_file_body {
	int fd;
	const char *md5_hex;
	uint64_t fairness;
	atomic_ullong *moving;
};
struct api_req *api_file_upload(struct api *api, const struct api_upload_spec *spec,
				const struct api_file_body *body, api_file_cb *cb, void *arg);

/* Helpers, pure, any thread. */
const char *api_mime_type(
	const char *filename); /* MIME type by the filename's ending; never NULL */
/* Returns whether id may stand in a path, URL-encoded: 1 to API_ID_MAX bytes, not "." or "..". */
bool api_id_valid(const char *id);
/* Returns whether s has 1 to API_WORD_MAX of [A-Za-z0-9._-] and does not start with '.'. */
bool api_word_valid(const char *s);
/* Returns whether err is about a reply with a 2xx status: the service did what was asked for. */
bool api_took_effect(const struct api_error *err);
/* "HTTP 429 rate_limit_exceeded: text (request req_1)", at most size - 1 bytes, one line. */
void api_error_text(const struct api_error *err, char *buf, size_t size);

/* Counters since api_new(), for the status document. Any thread. */
struct api_stats {
	uint64_t requests, retries, bytes_sent, bytes_received;
};
void api_get_stats(struct api *api, struct api_stats *ret);

/* The service's health; times are seconds since the epoch, 0 for never. Any thread. */
struct api_health {
	int64_t last_answer_s;
	int64_t failing_since_s; /* 0: not failing */
	int64_t last_failure_s;	 /* kept after the service answers again */
	char last_failure[512];	 /* in words, as by api_error_text(); "" for none */
};
void api_get_health(struct api *api, struct api_health *ret);

enum api_op {
	API_OP_CREATE,
	API_OP_PART,
	API_OP_COMPLETE,
	API_OP_CANCEL,
	API_OP_LIST,
	API_OP_GET,
	API_OP_DELETE,
	API_OP_CONTENT,
	API_OP_UPLOAD_FILE,
	API_OPS
};
/* The duration of each attempt from sending to its end; the number of failed ones. */
struct api_op_stats {
	const char *name; /* "create", …; static */
	struct hist_snapshot times;
	uint64_t failed;
};
void api_get_op_stats(struct api *api, enum api_op op, struct api_op_stats *ret);

#define API_QUEUES 5
/* The number of requests that wait for their turn or their next try, or are under way. */
struct api_queue {
	const char *name; /* "part", "call", "ask", "content", "urgent"; static */
	unsigned waiting, delayed, running;
};
void api_get_queues(struct api *api, struct api_queue ret[API_QUEUES]);

#endif
