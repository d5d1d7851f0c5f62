/*
 * request: one HTTP request from its header to its reply. Internal to net/server. All of this runs
 * on the connection's own thread and may block without disturbing other connections.
 */
#ifndef UPLOADFS_NET_SERVER_REQUEST_H
#define UPLOADFS_NET_SERVER_REQUEST_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/server/faults.h"
#include "net/server/flavor.h"
#include "net/server/journal.h"
#include "net/server/pace.h"
#include "net/server/refusal.h"
#include "net/server/route.h"
#include "net/server/state.h"

#define REQUEST_BODY_MAX (1u << 20) /* of a JSON or form body */
#define REQUEST_PATH_MAX 1024
#define REQUEST_LOCATION_MAX 512

struct server {
	struct store *store;
	struct state *state;
	const struct fault_hook *fault_hook; /* NULL: no rules */
	struct faults *faults;		     /* NULL: no rules */
	struct MHD_Daemon *daemon;
	char *key; /* NULL: any */
	unsigned latency_ms;
	bool no_range;
	enum flavor flavor;
	uint64_t rate;
	int journal_fd; /* -1: none */
	int stop_fd;	/* eventfd, readable when the server stops */
	pthread_t janitor;
	atomic_uint conns; /* counted since the start */
	char url[96];
};

struct conn {
	struct pace pace;
	unsigned number; /* from 1 */
	int sock;
};

struct request;

/* The steps of an operation. Each may be NULL; returns as in refusal.h. */
struct operation {
	int (*begin)(struct request *rq); /* the header has arrived */
	/* Take a piece of the body. NULL: the body is collected in rq->body. */
	int (*data)(struct request *rq, const char *data, size_t len);
	/* The body is complete: do the work, and write rq->reply or set rq->response. */
	int (*finish)(struct request *rq);
	void (*release)(struct request *rq); /* frees rq->own; always called after begin */
};

struct request {
	struct server *srv;
	struct conn *conn;
	struct MHD_Connection *mhd;
	const struct operation *ep; /* NULL: no such operation */
	struct route route;
	char method[16], path[REQUEST_PATH_MAX], id[ID_SIZE];
	struct fault *fault; /* the fault rule for this request, or NULL */
	bool stranger;	     /* refused for its key, Host or Origin */
	bool refused;	     /* see refusal; the rest of the body is read and dropped */
	struct refusal refusal;
	uint64_t received; /* bytes of the body received over the wire */
	uint64_t expected; /* Content-Length, or 0 */
	struct buf body;
	void *own; /* private to the endpoint */
	int status;
	struct buf reply;		     /* JSON; lives until the request is over */
	struct MHD_Response *response;	     /* replaces reply: content, streamed */
	char location[REQUEST_LOCATION_MAX]; /* of the object just made; "": not told */
	bool faulted;			     /* the fault of this request has been applied */
	bool begun, journaled;
	struct journal_entry entry;
	uint64_t items; /* for the journal: in the page of a list */
	char upload_id[ROUTE_ID_SIZE], part_id[ID_SIZE], file_id[ROUTE_ID_SIZE], md5[40];
};

/* For libmicrohttpd. */
enum MHD_Result request_handler(void *cls, struct MHD_Connection *mhd, const char *url,
				const char *method, const char *version, const char *data,
				size_t *size, void **con_cls);
void request_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
		       enum MHD_RequestTerminationCode why);

/* Return a header of the request, or NULL. */
const char *request_header(const struct request *rq, const char *name);
const char *request_query(const struct request *rq, const char *name);
/* Note the URL of a new object for the Location header, where the flavor has one. */
void request_located(struct request *rq, const char *collection, const char *id);
/*
 * Return the values that a wrong_… rule or leave_out puts into the reply; all NULL without such
 * a rule. Valid as long as rq.
 */
struct reply_override request_override(struct request *rq);

/*
 * Apply a fault rule at a step, if it is due. 0: go on; negative: cut the connection without a
 * reply.
 */
int fault_before(struct request *rq); /* before the work; may refuse the request */
int fault_during(struct request *rq, uint64_t done, uint64_t total); /* in the middle of a body */
int fault_after(struct request *rq); /* after the work, before the reply */

/* Make the reply from rq->refusal, rq->response or rq->reply, and queue it. */
enum MHD_Result reply_send(struct request *rq);
/* Write the journal's line, once. */
void request_journal(struct request *rq);

/* The steps of each operation: ep_uploads.c, ep_files.c, content.c */
extern const struct operation ep_create, ep_part, ep_complete, ep_cancel;
extern const struct operation ep_list, ep_get, ep_delete, ep_content, ep_upload_file;

#endif
