/*
 * metrics: the status as Prometheus text (exposition format 0.0.4). Names are
 * stable: dashboards rely on them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fs/content/cache.h"
#include "fs/work/pool.h"
#include "fs/publish/publisher.h"
#include "fs/stage/area.h"
#include "fs/status/json.h"
#include "net/api/api.h"
#include "net/base/version.h"

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_addf(b, "# HELP uploadfs_%s %s\n# TYPE uploadfs_%s %s\n", name, help, name, type);
}

static void value(struct buf *b, const char *name, const char *label, const char *word, uint64_t v)
{
	if (label)
		buf_addf(b, "uploadfs_%s{%s=\"%s\"} %" PRIu64 "\n", name, label, word, v);
	else
		buf_addf(b, "uploadfs_%s %" PRIu64 "\n", name, v);
}

static void single(struct buf *b, const char *name, const char *type, const char *help, uint64_t v)
{
	head(b, name, type, help);
	value(b, name, NULL, NULL, v);
}

/* extra: "op=\"part\"," or "" */
static void histogram(struct buf *b, const char *name, const char *extra,
		      const struct hist_snapshot *h)
{
	size_t len = strlen(extra);
	uint64_t below = 0;

	for (unsigned i = 0; i < HIST_BOUNDS; i++) {
		below += h->counts[i];
		buf_addf(b, "uploadfs_%s_bucket{%sle=\"%" PRIu64 ".%03u\"} %" PRIu64 "\n", name,
			 extra, hist_bounds_ms[i] / 1000, (unsigned)(hist_bounds_ms[i] % 1000),
			 below);
	}
	buf_addf(b, "uploadfs_%s_bucket{%sle=\"+Inf\"} %" PRIu64 "\n", name, extra, h->total);
	for (unsigned i = 0; i < 2; i++) {
		buf_addf(b, "uploadfs_%s_%s", name, i ? "count" : "sum");
		if (len)
			buf_addf(b, "{%.*s}", (int)len - 1, extra); /* without the trailing comma */
		if (i)
			buf_addf(b, " %" PRIu64 "\n", h->total);
		else
			buf_addf(b, " %" PRIu64 ".%03u\n", h->sum_ms / 1000,
				 (unsigned)(h->sum_ms % 1000));
	}
}

static void put_publications(const struct status_source *src, struct buf *b)
{
	static const char *const outcomes[] = { NULL,	   "completed", "failed",
						"aborted", "empty",	"dropped" };
	struct publisher_counts c;

	publisher_get_counts(src->publisher, &c);
	head(b, "publications_total", "counter", "Publications that ended, by outcome.");
	for (unsigned i = 1; i <= OUTCOME_DROPPED; i++)
		value(b, "publications_total", "outcome", outcomes[i], c.ended[i]);
	single(b, "published_bytes_total", "counter", "Bytes of the Files that were made.",
	       c.bytes);
	single(b, "parts_total", "counter", "Parts that the service took.", c.parts);
	head(b, "files", "gauge", "Files that are closed and not published, by state.");
	value(b, "files", "state", "publishing", c.active);
	value(b, "files", "state", "held", c.held);
	value(b, "files", "state", "failed", c.failed);
	value(b, "files", "state", "aborted", c.aborted);
	head(b, "publication_seconds", "histogram", "Time from a close to its File.");
	histogram(b, "publication_seconds", "", &c.times);
	head(b, "publisher_queue_length", "gauge", "Publications with something to look at.");
	value(b, "publisher_queue_length", NULL, NULL, c.queued);
}

static void put_service(const struct status_source *src, struct buf *b)
{
	struct api_stats st;

	api_get_stats(src->api, &st);
	single(b, "requests_total", "counter", "Requests sent, each try counted.", st.requests);
	single(b, "request_retries_total", "counter", "Requests that were tried again.",
	       st.retries);
	single(b, "sent_bytes_total", "counter", "Bytes of request bodies sent.", st.bytes_sent);
	single(b, "received_bytes_total", "counter", "Bytes of replies received.",
	       st.bytes_received);
}

static void put_health(const struct status_source *src, struct buf *b)
{
	struct api_health h;

	api_get_health(src->api, &h);
	single(b, "service_failing", "gauge",
	       "1 if the last request failed for the service's sake.", h.failing_since_s != 0);
	single(b, "service_last_answer_seconds", "gauge",
	       "When the service answered last, since the epoch; 0: never.",
	       (uint64_t)h.last_answer_s);
	single(b, "service_failing_since_seconds", "gauge",
	       "When it began to fail, since the epoch; 0: it does not.",
	       (uint64_t)h.failing_since_s);
}

static void put_calls(const struct status_source *src, struct buf *b)
{
	struct api_op_stats op;
	char extra[64];

	head(b, "request_failures_total", "counter", "Tries that failed, by call.");
	for (unsigned i = 0; i < API_OPS; i++) {
		api_get_op_stats(src->api, (enum api_op)i, &op);
		value(b, "request_failures_total", "call", op.name, op.failed);
	}
	head(b, "request_seconds", "histogram", "Time of one try, by call.");
	for (unsigned i = 0; i < API_OPS; i++) {
		api_get_op_stats(src->api, (enum api_op)i, &op);
		snprintf(extra, sizeof(extra), "call=\"%s\",", op.name);
		histogram(b, "request_seconds", extra, &op.times);
	}
}

static void put_queues(const struct status_source *src, struct buf *b)
{
	struct api_queue q[API_QUEUES];

	api_get_queues(src->api, q);
	head(b, "pending_requests", "gauge",
	     "Requests that wait, wait for their next try, or run.");
	for (unsigned i = 0; i < API_QUEUES; i++) {
		const char *name = q[i].name;

		buf_addf(b, "uploadfs_pending_requests{queue=\"%s\",state=\"waiting\"} %u\n", name,
			 q[i].waiting);
		buf_addf(b, "uploadfs_pending_requests{queue=\"%s\",state=\"delayed\"} %u\n", name,
			 q[i].delayed);
		buf_addf(b, "uploadfs_pending_requests{queue=\"%s\",state=\"running\"} %u\n", name,
			 q[i].running);
	}
	head(b, "worker_queue_length", "gauge", "Jobs that wait for a worker thread.");
	value(b, "worker_queue_length", "worker", "md5", pool_length(src->md5));
	value(b, "worker_queue_length", "worker", "disk", pool_length(src->disk));
}

static void put_space(const struct status_source *src, struct buf *b)
{
	struct staging_space space = { 0 };

	staging_get_space(src->staging, &space);
	single(b, "staging_bytes", "gauge", "Bytes of all staged files, holes included.",
	       space.used);
	single(b, "staging_files", "gauge", "Staged files.", space.files);
	single(b, "staging_max_bytes", "gauge", "staging_size, 0 without a limit.",
	       src->staging_max);
	single(b, "disk_bytes", "gauge", "Size of the disk they are on.", space.disk_size);
	single(b, "disk_free_bytes", "gauge", "What is free there.", space.disk_free);
	single(b, "cache_bytes", "gauge", "Bytes of cached content.", cache_used(src->cache));
	single(b, "cache_max_bytes", "gauge", "cache_size.", src->cache_max);
}

int status_metrics(const struct status_source *src, struct buf *ret)
{
	head(ret, "info", "gauge", "Always 1; the version is in the label.");
	value(ret, "info", "version", UPLOADFS_VERSION, 1);
	single(ret, "start_time_seconds", "gauge", "When the daemon started, since the epoch.",
	       (uint64_t)src->started);
	put_publications(src, ret);
	put_service(src, ret);
	put_health(src, ret);
	put_calls(src, ret);
	put_queues(src, ret);
	put_space(src, ret);
	return ret->err;
}
