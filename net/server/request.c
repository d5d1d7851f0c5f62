/* request: the course of a request; see request.h. */
#include "net/server/request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "net/base/clock.h"
#include "net/base/log.h"
#include "net/server/uploads.h"
#include "net/server/files.h"

/* Read a refused body up to here, so that the client sees the reply. */
#define DRAIN_MAX (1ULL << 30)
#define DRAIN_STRANGER_MAX (65ULL << 20) /* a Part, of a request refused for its key or origin */
#define REQUEST_TIMEOUT_S 300		 /* without a byte, once a request was let in */

static const struct operation *const endpoints[OP_COUNT] = {
	[OP_CREATE] = &ep_create, [OP_PART] = &ep_part,	      [OP_COMPLETE] = &ep_complete,
	[OP_CANCEL] = &ep_cancel, [OP_LIST] = &ep_list,	      [OP_GET] = &ep_get,
	[OP_DELETE] = &ep_delete, [OP_CONTENT] = &ep_content, [OP_UPLOAD_FILE] = &ep_upload_file,
};

const char *request_header(const struct request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->mhd, MHD_HEADER_KIND, name);
}

const char *request_query(const struct request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->mhd, MHD_GET_ARGUMENT_KIND, name);
}

void request_located(struct request *rq, const char *collection, const char *id)
{
	const char *host = request_header(rq, "Host");

	if (!rq->route.dated || !host)
		return;
	snprintf(rq->location, sizeof(rq->location), "http://%.300s/openai/%s/%s", host, collection,
		 id);
}

/* Note the outcome of a step of the endpoint. */
static void note(struct request *rq, int err)
{
	if (!err)
		return;
	if (err != -EPROTO) {
		log_error("%s %s: %s", rq->method, rq->path, strerror(-err));
		refusal_from_errno(&rq->refusal, err);
	}
	rq->refused = true;
}

/* Compare in constant time, so that timing reveals nothing about the key. */
static bool same_secret(const char *given, const char *key)
{
	size_t i, glen = strlen(given), klen = strlen(key);
	volatile unsigned char diff = glen != klen;

	for (i = 0; i < glen; i++)
		diff |= (unsigned char)(given[i] ^ key[i % klen]);
	return !diff;
}

/* Return the key; Azure's v1 paths also take it as OpenAI does. */
static const char *azure_key(const struct request *rq)
{
	static const char scheme[] = "Bearer ";
	const char *key = request_header(rq, "api-key"), *auth;

	if (key || strncmp(rq->path, flavor_base(FLAVOR_AZURE), strlen("/openai/v1")))
		return key;
	auth = request_header(rq, "Authorization");
	return auth && !strncasecmp(auth, scheme, strlen(scheme)) ? auth + strlen(scheme) : NULL;
}

static int check_azure_key(struct request *rq)
{
	const char *key = azure_key(rq);

	if (key && (!rq->srv->key || same_secret(key, rq->srv->key)))
		return 0;
	return refuse(&rq->refusal, 401, NULL, NULL,
		      "Access denied: the api-key header is missing or holds another key.");
}

static int check_key(struct request *rq)
{
	static const char scheme[] = "Bearer ";
	const char *auth = request_header(rq, "Authorization");

	if (rq->srv->flavor == FLAVOR_AZURE)
		return check_azure_key(rq);
	if (!rq->srv->key)
		return 0;
	if (!auth)
		return refuse(&rq->refusal, 401, NULL, "invalid_api_key",
			      "You didn't provide an API key.");
	if (strncasecmp(auth, scheme, strlen(scheme)) ||
	    !same_secret(auth + strlen(scheme), rq->srv->key))
		return refuse(&rq->refusal, 401, NULL, "invalid_api_key",
			      "Incorrect API key provided.");
	return 0;
}

/* True for a loopback name or address, bracketed or not. host: "NAME[:PORT]" of a Host header. */
static bool is_local_host(const char *host)
{
	size_t len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
	struct in_addr addr;
	char name[64];

	if (len >= sizeof(name) || len > strlen(host))
		return false;
	snprintf(name, sizeof(name), "%.*s", (int)len, host);
	if (inet_pton(AF_INET, name, &addr) == 1)
		return ntohl(addr.s_addr) >> 24 == 127;
	return !strcasecmp(name, "localhost") || !strcmp(name, "[::1]");
}

/*
 * Without a key the server serves everyone who reaches the port. Refuse requests that a web page
 * makes a browser send: by its Origin, or by a Host that is a foreign name for this host.
 */
static int check_browser(struct request *rq)
{
	const char *host = request_header(rq, "Host");

	if (rq->srv->key)
		return 0;
	if (request_header(rq, "Origin"))
		return refuse(&rq->refusal, 403, NULL, NULL,
			      "Requests with an Origin header need a server with a key.");
	if (host && !is_local_host(host))
		return refuse(&rq->refusal, 403, NULL, NULL,
			      "Without a key the Host must be a loopback name, not %.100s.", host);
	return 0;
}

static int find_route(struct request *rq)
{
	int err = flavor_route(rq->srv->flavor, rq->method, rq->path,
			       request_query(rq, "api-version"), &rq->route);

	rq->ep = err ? NULL : endpoints[rq->route.op];
	if (err == -ENOENT)
		return refuse(&rq->refusal, 404, NULL, NULL, "Invalid URL (%s %.300s)", rq->method,
			      rq->path);
	if (err)
		return refuse(&rq->refusal, 405, NULL, "method_not_supported",
			      "Not allowed to %s on %.300s", rq->method, rq->path);
	if (rq->route.op == OP_PART || rq->route.op == OP_COMPLETE || rq->route.op == OP_CANCEL)
		snprintf(rq->upload_id, sizeof(rq->upload_id), "%s", rq->route.id);
	else
		snprintf(rq->file_id, sizeof(rq->file_id), "%s", rq->route.id);
	return 0;
}

static struct fault *next_fault(const struct request *rq, const char *filename)
{
	const struct server *srv = rq->srv;

	if (!srv->faults)
		return NULL;
	return srv->fault_hook->pick(srv->faults, rq->route.op, rq->path, filename);
}

/* Pick the rule for this request; the Upload or File gives the filename. */
static void pick_fault(struct request *rq)
{
	struct state *st = rq->srv->state;
	struct upload *up = *rq->upload_id ? upload_find(st, rq->upload_id) : NULL;
	struct refusal ignored;
	struct file *f = *rq->file_id ? file_get(st, rq->file_id, &ignored) : NULL;
	const char *name = up ? up->filename : f ? f->filename : NULL;

	rq->fault = next_fault(rq, name);
	upload_unref(st, up);
	file_unref(st, f);
}

/* Pick the rule for a create, whose body has the filename. */
static void pick_fault_create(struct request *rq)
{
	struct json *j = NULL;
	const char *name = NULL;

	if (!json_parse(buf_str(&rq->body), rq->body.len, &j))
		name = json_get_str(j, "filename");
	rq->fault = next_fault(rq, name);
	json_free(j);
}

static struct request *request_new(struct server *srv, struct MHD_Connection *mhd, const char *url,
				   const char *method)
{
	const union MHD_ConnectionInfo *info;
	struct request *rq;
	const char *length;

	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	if (!info || !info->socket_context)
		return NULL;
	rq = calloc(1, sizeof(*rq));
	if (!rq)
		return NULL;
	if (id_new("req_", rq->id)) {
		free(rq);
		return NULL;
	}
	rq->srv = srv;
	rq->mhd = mhd;
	rq->conn = info->socket_context;
	rq->route.op = OP_NONE;
	snprintf(rq->method, sizeof(rq->method), "%s", method);
	snprintf(rq->path, sizeof(rq->path), "%s", url);
	buf_init(&rq->body, REQUEST_BODY_MAX);
	buf_init(&rq->reply, 64u << 20);
	rq->entry.t_start_ms = clock_mono_ms();
	length = request_header(rq, "Content-Length");
	rq->expected = length ? strtoull(length, NULL, 10) : 0;
	return rq;
}

static bool awaits_continue(const struct request *rq)
{
	const char *expect = request_header(rq, "Expect");

	return expect && !strcasecmp(expect, "100-continue");
}

static enum MHD_Result request_begin(struct request *rq)
{
	int err = check_browser(rq);

	if (!err)
		err = check_key(rq);
	rq->stranger = err != 0;
	if (!err)
		MHD_set_connection_option(rq->mhd, MHD_CONNECTION_OPTION_TIMEOUT,
					  (unsigned)REQUEST_TIMEOUT_S);
	if (!err)
		err = find_route(rq);
	note(rq, err);
	if (!err && rq->route.op != OP_CREATE) {
		pick_fault(rq);
		if (fault_before(rq))
			return MHD_NO;
	}
	if (!rq->refused && rq->ep->begin) {
		rq->begun = true;
		note(rq, rq->ep->begin(rq));
	}
	/* Reply now if the client waits for 100: it need not send the body. */
	if (rq->refused && awaits_continue(rq))
		return fault_after(rq) ? MHD_NO : reply_send(rq);
	return MHD_YES;
}

static enum MHD_Result request_body(struct request *rq, const char *data, size_t len)
{
	int err = pace_bytes(&rq->conn->pace, PACE_IN, len);

	if (err)
		return MHD_NO;
	if (!rq->entry.t_first_ms)
		rq->entry.t_first_ms = clock_mono_ms();
	rq->received += len;
	if (rq->refused)
		return rq->received > (rq->stranger ? DRAIN_STRANGER_MAX : DRAIN_MAX) ? MHD_NO
										      : MHD_YES;
	if (rq->ep->data) {
		note(rq, rq->ep->data(rq, data, len));
	} else {
		err = buf_add(&rq->body, data, len);
		if (err == -EMSGSIZE)
			err = refuse(&rq->refusal, 413, NULL, NULL, "The request is too large.");
		note(rq, err);
	}
	return fault_during(rq, rq->received, rq->expected) ? MHD_NO : MHD_YES;
}

static enum MHD_Result request_end(struct request *rq)
{
	if (!rq->refused && rq->route.op == OP_CREATE) {
		pick_fault_create(rq);
		if (fault_before(rq))
			return MHD_NO;
	}
	if (!rq->refused) {
		rq->status = flavor_status(rq->srv->flavor, &rq->route);
		note(rq, rq->ep->finish(rq));
	}
	if (rq->srv->latency_ms && pace_wait(&rq->conn->pace, -1, rq->srv->latency_ms))
		return MHD_NO;
	return fault_after(rq) ? MHD_NO : reply_send(rq);
}

enum MHD_Result request_handler(void *cls, struct MHD_Connection *mhd, const char *url,
				const char *method, const char *version, const char *data,
				size_t *size, void **con_cls)
{
	struct request *rq = *con_cls;
	enum MHD_Result result;

	(void)version;
	if (!rq) {
		rq = request_new(cls, mhd, url, method);
		if (!rq)
			return MHD_NO;
		*con_cls = rq;
		return request_begin(rq);
	}
	if (!*size)
		return request_end(rq);
	result = request_body(rq, data, *size);
	*size = 0;
	return result;
}

void request_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
		       enum MHD_RequestTerminationCode why)
{
	struct request *rq = *con_cls;

	(void)cls;
	(void)mhd;
	(void)why;
	if (!rq)
		return;
	*con_cls = NULL;
	request_journal(rq);
	if (rq->begun && rq->ep->release)
		rq->ep->release(rq);
	if (rq->response)
		MHD_destroy_response(rq->response);
	if (rq->fault)
		rq->srv->fault_hook->free(rq->fault);
	buf_release(&rq->body);
	buf_release(&rq->reply);
	free(rq);
}
