#include "net/api/call.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/api/api_impl.h"
#include "net/api/json.h"
#include "net/base/clock.h"
#include "net/base/log.h"
#include "net/http/url.h"

/* Time-outs, in idle_timeout_s; with its default of 60 s in brackets. */
#define API_REPLY_IDLES 2     /* any reply but that of a complete (2 minutes) */
#define API_COMPLETE_IDLES 10 /* a complete: the server reads up to 8 GiB to hash it (10 minutes) */
#define API_CALL_IDLES 12     /* a call as a whole (12 minutes) */
#define API_BODY_IDLES 60 /* a part or content as a whole, but not below API_BODY_MIN_S (1 hour) */
#define API_BODY_MIN_S 3600 /* as long as an Upload lives */

/* ---- one attempt ---- */

static int api_set_auth(struct api_req *req)
{
	struct api *api = req->api;
	size_t n = 0;
	int rc = 0;

	free(req->auth);
	req->auth = NULL;
	pthread_mutex_lock(&api->lock);
	if (api->key && !api->key_may_go)
		rc = -EPERM;
	else if (api->key && asprintf(&req->auth, api->auth_form, api->key) < 0)
		rc = -ENOMEM;
	pthread_mutex_unlock(&api->lock);
	if (rc) {
		req->auth = NULL;
		return rc;
	}
	if (req->auth)
		req->auth_headers[n++] = req->auth;
	if (api->organization)
		req->auth_headers[n++] = api->organization;
	if (api->project)
		req->auth_headers[n++] = api->project;
	req->auth_headers[n] = NULL;
	return 0;
}

static void api_set_limits(const struct api_req *req, struct http_request *rq)
{
	unsigned idle = req->api->idle_s;

	rq->idle_timeout_s = idle;
	rq->reply_timeout_s = idle * API_REPLY_IDLES;
	rq->total_timeout_s = idle * API_CALL_IDLES;
	if (req->limits == API_LIMITS_COMPLETE) {
		rq->reply_timeout_s = idle * API_COMPLETE_IDLES;
	} else if (req->limits != API_LIMITS_CALL) {
		if (req->limits == API_LIMITS_FILE)
			rq->reply_timeout_s = idle * API_COMPLETE_IDLES;
		rq->total_timeout_s = idle * API_BODY_IDLES;
		if (rq->total_timeout_s < API_BODY_MIN_S)
			rq->total_timeout_s = API_BODY_MIN_S;
	}
}

static int api_set_url(struct api_req *req)
{
	const char *query = req->api->query;
	const char *mark = !query ? "" : strchr(req->path, '?') ? "&" : "?";

	free(req->url);
	if (asprintf(&req->url, "%s%s%s%s", req->api->base, req->path, mark, query ? query : "") >=
	    0)
		return 0;
	req->url = NULL;
	return -ENOMEM;
}

static int api_prepare(struct hq_job *job, struct http_request *rq)
{
	struct api_req *req = (struct api_req *)job;
	size_t n = 0;
	int rc;

	if (!req->path) {
		api_clean(req->err.message, sizeof(req->err.message), req->refusal);
		return -EPERM;
	}
	rc = api_set_auth(req);
	if (rc == -EPERM)
		api_clean(req->err.message, sizeof(req->err.message),
			  "the API key is not sent over plain http to another host; "
			  "use https, or allow_http if you must");
	if (rc)
		return rc;
	rc = api_set_url(req);
	if (rc)
		return rc;
	if (req->range[0])
		req->headers[n++] = req->range;
	if (req->method == HTTP_POST && !req->has_part)
		/* Names the type: curl calls an unnamed body form-urlencoded, even an empty one. */
		req->headers[n++] =
			req->body.len ? "Content-Type: application/json" : "Content-Type:";
	req->headers[n] = NULL;
	rq->method = req->method;
	rq->url = req->url;
	rq->headers = req->headers;
	rq->auth_headers = req->auth_headers;
	rq->body = buf_str(&req->body);
	rq->body_len = req->body.len;
	rq->part = req->has_part ? &req->part : NULL;
	rq->reply_max = req->reply_max;
	/* A body of 512 MiB is worth a new connection; a complete is asked for once more anyway. */
	rq->fresh = req->once && req->has_part;
	api_set_limits(req, rq);
	if (req->ops->prepare)
		req->ops->prepare(req, rq);
	return 0;
}

/* ---- its outcome ---- */

static enum api_err_kind kind_of(enum http_fail fail)
{
	switch (fail) {
	case HTTP_FAIL_CONNECT:
	case HTTP_FAIL_BROKEN:
	case HTTP_FAIL_PROXY:
		return API_ERR_CONNECT;
	case HTTP_FAIL_TLS:
	case HTTP_FAIL_VERIFY:
		return API_ERR_TLS;
	case HTTP_FAIL_TIMEOUT:
		return API_ERR_TIMEOUT;
	case HTTP_FAIL_TOO_BIG:
	case HTTP_FAIL_GARBLED:
		return API_ERR_BAD_REPLY;
	case HTTP_FAIL_REFUSED:
		return API_ERR_CONFIG;
	default:
		return API_ERR_LOCAL;
	}
}

/* Starts the error of this attempt; keeps only maybe_applied of the attempts before. */
static void err_begin(struct api_req *req, const struct http_result *res)
{
	bool maybe = req->err.maybe_applied;

	memset(&req->err, 0, sizeof(req->err));
	req->err.maybe_applied = maybe;
	req->err.attempts = req->job.attempts;
	req->err.http_status = res->head.status;
	req->err.server_time = res->head.date;
	api_clean(req->err.request_id, sizeof(req->err.request_id), res->head.request_id);
}

/* True if somebody waits for a service that can't be reached, and has waited long enough. */
static bool is_out_of_reach(const struct api_req *req, const struct http_result *res)
{
	uint64_t limit_ms = req->api->connect_s * 1000ULL;

	if (!req->brief || !req->job.retries || res->sent_whole)
		return false;
	return (res->fail == HTTP_FAIL_CONNECT || res->fail == HTTP_FAIL_TLS ||
		res->fail == HTTP_FAIL_TIMEOUT) &&
	       clock_mono_ms() - req->job.first_failure_ms >= limit_ms;
}

static void judge_failure(struct api_req *req, const struct http_result *res, struct hq_verdict *v)
{
	struct api_error *err = &req->err;

	err->kind = kind_of(res->fail);
	err->cause = res->cause;
	err->local_errno = err->kind == API_ERR_LOCAL ? res->local_errno : 0;
	if (err->kind != API_ERR_LOCAL)
		api_clean(err->message, sizeof(err->message), res->text);
	err->maybe_applied |= res->sent_whole && err->kind != API_ERR_LOCAL;
	v->retry = hq_worth_retry(res, false) && !is_out_of_reach(req, res);
	v->at_once = res->stale;
	if (res->fail == HTTP_FAIL_GARBLED)
		v->max_retries = API_GARBLED_RETRIES;
}

/*
 * Neither done nor refused: a redirect may lead to what was made (303), and what stands between us
 * and the service may answer anything in its place.
 */
static bool is_no_answer(int status)
{
	return status < 400 || status >= 500 || status == 408 || status == 409;
}

static void judge_refusal(struct api_req *req, const struct http_result *res, struct hq_verdict *v)
{
	struct api_error *err = &req->err;
	int status = res->head.status;
	bool quota;

	err->kind = API_ERR_HTTP;
	api_json_error(res->body, res->body_len, err);
	quota = status == 429 && (!strcmp(err->code, "insufficient_quota") ||
				  !strcmp(err->type, "insufficient_quota"));
	v->retry = hq_worth_retry(res, quota);
	v->throttled = status == 429 && !quota;
	v->retry_after_ms = res->head.retry_after_ms;
	if (req->may_be_absent && status == 501)
		v->retry = false;
	/* A request sent only once and not sent whole was not done. */
	if (req->lasting && is_no_answer(status) && (!req->once || res->sent_whole))
		err->maybe_applied = true;
}

static void judge_reply(struct api_req *req, const struct http_result *res, struct hq_verdict *v)
{
	struct json *root = NULL;
	const char *why;

	if (req->ops->take_text)
		why = req->ops->take_text(req, res->body, res->body_len);
	else if (json_parse(res->body, res->body_len, &root))
		why = "it is not JSON";
	else
		why = req->ops->take(req, root);
	json_free(req->reply);
	req->reply = root;
	if (!why) {
		req->err.kind = API_OK;
		return;
	}
	req->err.kind = API_ERR_BAD_REPLY;
	req->err.maybe_applied = true;
	api_clean(req->err.message, sizeof(req->err.message), why);
	v->retry = req->again_if_garbled;
	v->max_retries = API_GARBLED_RETRIES;
}

static void note_attempt(struct api_req *req)
{
	struct api *api = req->api;
	uint64_t now = clock_mono_ms(), started = req->job.started_ms;

	hist_add(&api->times[req->ops->op], now > started ? now - started : 0);
	if (req->err.kind != API_OK)
		atomic_fetch_add(&api->failed[req->ops->op], 1);
	health_note(&api->health, req->ops->op, &req->err);
}

static void api_judge(struct hq_job *job, const struct http_result *res, struct hq_verdict *v)
{
	struct api_req *req = (struct api_req *)job;
	char text[700];

	err_begin(req, res);
	if (req->ops->judge && req->ops->judge(req, res, v))
		goto out;
	if (res->fail != HTTP_REPLIED)
		judge_failure(req, res, v);
	else if (res->head.status < 200 || res->head.status > 299)
		judge_refusal(req, res, v);
	else
		judge_reply(req, res, v);
	v->retry &= !(req->once && req->err.maybe_applied);
out:
	note_attempt(req);
	if (req->err.kind == API_OK)
		return;
	api_error_text(&req->err, text, sizeof(text));
	/*
	 * Logs the first failure as news and the following ones as details; the caller reports the
	 * last.
	 */
	log_msg(v->retry && job->attempts == 1 ? LOG_LVL_INFO : LOG_LVL_DEBUG, "%s: %s%s",
		req->path, text, v->retry ? "; to be tried again" : "");
}

static void api_done(struct hq_job *job, int rc, bool sent)
{
	struct api_req *req = (struct api_req *)job;
	struct api_error *err = &req->err;

	err->attempts = job->attempts;
	err->retrying_ms = job->retries ? clock_mono_ms() - job->first_failure_ms : 0;
	err->maybe_applied |= sent;
	if (rc == -ECANCELED) {
		err->kind = API_ERR_CANCELLED;
		err->message[0] = '\0';
	} else if (rc == -EPERM) {
		err->kind = API_ERR_CONFIG;
	} else if (rc) {
		err->kind = API_ERR_LOCAL;
		err->local_errno = rc;
		err->message[0] = '\0';
	}
	req->ops->finish(req);
	json_free(req->reply);
	req->reply = NULL;
}

static void api_release(struct hq_job *job)
{
	struct api_req *req = (struct api_req *)job;

	if (req->ops->release)
		req->ops->release(req);
	json_free(req->reply);
	buf_release(&req->body);
	free(req->path);
	free(req->url);
	free(req->auth);
	free(req);
}

static bool api_whole(struct hq_job *job)
{
	const struct http_part *part = &((struct api_req *)job)->part;

	return !part->ready || part->ready(part->ready_arg, 0) >= part->len;
}

static const struct hq_ops api_hq_ops = {
	.prepare = api_prepare,
	.judge = api_judge,
	.done = api_done,
	.release = api_release,
	.whole = api_whole,
};

/* ---- what the endpoints use ---- */

struct api_req *api_call_new(struct api *api, size_t size, const struct api_call_ops *ops,
			     enum hq_class class, uint64_t fairness)
{
	struct api_req *req = calloc(1, size);

	if (!req)
		return NULL;
	req->api = api;
	req->ops = ops;
	req->reply_max = API_REPLY_MAX;
	buf_init(&req->body, API_LIST_MAX);
	hq_job_init(&req->job, api->q, &api_hq_ops, class, fairness);
	return req;
}

void api_call_path(struct api_req *req, const char *before, const char *id, const char *after)
{
	struct buf path;

	if (!api_id_valid(id)) {
		req->refusal = "not an id of the API";
		return;
	}
	buf_init(&path, 64 + 3 * API_ID_MAX);
	buf_adds(&path, before);
	url_encode(&path, id);
	buf_adds(&path, after);
	if (!path.err)
		req->path = strdup(buf_str(&path));
	buf_release(&path);
}

struct api_req *api_call_submit(struct api_req *req)
{
	if ((req->path || req->refusal) && !req->body.err && hq_submit(&req->job))
		return req;
	hq_job_unref(&req->job);
	return NULL;
}

void api_req_cancel(struct api_req *req)
{
	if (req)
		hq_cancel(&req->job);
}

void api_req_unref(struct api_req *req)
{
	if (req)
		hq_job_unref(&req->job);
}
