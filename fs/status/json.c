#include "fs/status/json.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/content/cache.h"
#include "fs/publish/publisher.h"
#include "fs/stage/area.h"
#include "net/api/api.h"
#include "net/base/compat.h"
#include "net/base/clock.h"
#include "net/base/json.h"
#include "net/base/log.h"
#include "net/base/version.h"

#define LOG_FILES_MAX 200 /* lines: a log is no place for ten thousand */

/* The words of user.upload.status, in the order in which files are shown. */
enum word { W_PUBLISHING, W_STREAMING, W_WRITING, W_HELD, W_FAILED, W_ABORTED, W_EMPTY, WORDS };

static const char *const words[WORDS] = { "publishing", "streaming", "writing", "held",
					  "failed",	"aborted",   "empty" };

struct totals {
	unsigned files[WORDS];
	uint64_t size, sent; /* bytes, of files that are not Files yet */
};

static unsigned word_of(const struct publish_row *row)
{
	unsigned w = 0;

	while (w < WORDS && strcmp(row->info.status, words[w]))
		w++;
	return w;
}

static int compare(const void *a, const void *b)
{
	const struct publish_row *x = a, *y = b;
	unsigned wx = word_of(x), wy = word_of(y);
	int r;

	if (wx != wy)
		return wx < wy ? -1 : 1;
	r = strcmp(x->purpose, y->purpose);
	return r ? r : strcmp(x->path, y->path);
}

/* The files that are not Files yet, sorted. */
static int take_rows(const struct status_source *src, struct publish_rows *rows, struct totals *t)
{
	int r = publisher_list(src->publisher, rows);
	size_t n = 0;

	memset(t, 0, sizeof(*t));
	if (r)
		return r;
	for (size_t i = 0; i < rows->count; i++) {
		const struct publish_row *row = &rows->v[i];
		unsigned w = word_of(row);

		if (w == WORDS) { /* completed, and still open */
			free(row->purpose);
			free(row->path);
			continue;
		}
		t->files[w]++;
		t->size += row->size;
		t->sent += row->info.sent_bytes;
		rows->v[n++] = *row;
	}
	rows->count = n;
	qsort(rows->v, n, sizeof(*rows->v), compare);
	return 0;
}

/* A moment of the monotonic clock as seconds since the epoch; 0 stays 0. */
static int64_t wall_of(uint64_t mono_ms)
{
	int64_t ms = (int64_t)mono_ms - (int64_t)clock_mono_ms();

	return mono_ms ? clock_wall_s() + ms / 1000 : 0;
}

static void put_time(struct json_writer *w, const char *key, uint64_t mono_ms)
{
	if (mono_ms)
		json_w_i64(w, key, wall_of(mono_ms));
	else
		json_w_null(w, key);
}

static void put_text(struct json_writer *w, const char *key, const char *text)
{
	json_w_str(w, key, text && *text ? text : NULL);
}

/* Bytes a second since the first Part left. */
static uint64_t rate_of(const struct publish_info *info)
{
	uint64_t now = clock_mono_ms();

	if (!info->sending_ms || now <= info->sending_ms)
		return 0;
	return (uint64_t)((double)info->sent_bytes * 1000.0 / (double)(now - info->sending_ms));
}

static void put_failure(struct json_writer *w, const struct publish_info *info)
{
	put_text(w, "error", info->error);
	json_w_str(w, "errno", info->err ? compat_errno_name(-info->err) : NULL);
	if (info->http_status)
		json_w_i64(w, "http_status", info->http_status);
	else
		json_w_null(w, "http_status");
	put_text(w, "request_id", info->request_id);
	put_time(w, "next_try", info->retry_ms);
}

static void put_file(struct json_writer *w, const struct status_source *src,
		     const struct publish_row *row)
{
	const struct publish_info *info = &row->info;
	struct buf path;

	buf_init(&path, 1 << 16);
	if (!src->purpose)
		buf_addf(&path, "%s/", row->purpose);
	buf_adds(&path, row->path);
	json_w_object(w, NULL);
	json_w_str(w, "path", buf_str(&path));
	buf_release(&path);
	json_w_str(w, "purpose", row->purpose);
	json_w_str(w, "status", info->status);
	put_time(w, "since", info->since_ms);
	json_w_u64(w, "size", row->size);
	json_w_u64(w, "sent", info->sent_bytes);
	if (info->upload_id[0])
		json_w_u64(w, "upload_size", info->upload_bytes);
	else
		json_w_null(w, "upload_size");
	put_text(w, "upload_id", info->upload_id);
	json_w_u64(w, "parts_done", info->parts_done);
	json_w_u64(w, "parts_total", info->parts_total);
	json_w_u64(w, "rate", rate_of(info));
	put_failure(w, info);
	json_w_end_object(w);
}

static void put_totals(struct json_writer *w, const struct status_source *src,
		       const struct totals *t)
{
	struct publisher_counts c;

	publisher_get_counts(src->publisher, &c);
	json_w_object(w, "totals");
	for (unsigned i = 0; i < WORDS; i++)
		json_w_u64(w, words[i], t->files[i]);
	json_w_u64(w, "completed", c.completed);
	json_w_u64(w, "completed_bytes", c.bytes);
	json_w_u64(w, "size", t->size);
	json_w_u64(w, "sent", t->sent);
	json_w_end_object(w);
}

static void put_moment(struct json_writer *w, const char *key, int64_t at_s)
{
	if (at_s)
		json_w_i64(w, key, at_s);
	else
		json_w_null(w, key);
}

static void put_health(struct json_writer *w, const struct status_source *src)
{
	struct api_health h;

	api_get_health(src->api, &h);
	json_w_str(w, "health", h.failing_since_s ? "failing" : h.last_answer_s ? "ok" : "unknown");
	put_moment(w, "last_answer", h.last_answer_s);
	put_moment(w, "failing_since", h.failing_since_s);
	put_moment(w, "last_failure_time", h.last_failure_s);
	put_text(w, "last_failure", h.last_failure);
}

static void put_service(struct json_writer *w, const struct status_source *src)
{
	struct api_stats st;

	api_get_stats(src->api, &st);
	json_w_object(w, "service");
	json_w_u64(w, "requests", st.requests);
	json_w_u64(w, "retries", st.retries);
	json_w_u64(w, "bytes_sent", st.bytes_sent);
	json_w_u64(w, "bytes_received", st.bytes_received);
	put_health(w, src);
	json_w_end_object(w);
}

static void put_space(struct json_writer *w, const struct status_source *src)
{
	struct staging_space space = { 0 };

	json_w_object(w, "space");
	staging_get_space(src->staging, &space);
	json_w_u64(w, "staging_used", space.used);
	json_w_u64(w, "staging_files", space.files);
	if (src->staging_max)
		json_w_u64(w, "staging_max", src->staging_max);
	else
		json_w_null(w, "staging_max");
	json_w_u64(w, "disk_size", space.disk_size);
	json_w_u64(w, "disk_free", space.disk_free);
	json_w_u64(w, "cache_used", cache_used(src->cache));
	json_w_u64(w, "cache_max", src->cache_max);
	json_w_end_object(w);
}

/* Tells the reader whether a number or a path of the daemon means the same to him. 0: unknown. */
static uint64_t inode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_ino;
}

static void put_daemon(struct json_writer *w, const struct status_source *src)
{
	json_w_u64(w, "format", 1);
	json_w_str(w, "version", UPLOADFS_VERSION);
	json_w_i64(w, "pid", getpid());
	json_w_u64(w, "pid_namespace", inode_of("/proc/self/ns/pid"));
	json_w_str(w, "mountpoint", src->mountpoint);
	json_w_str(w, "service_url", src->service);
	json_w_str(w, "purpose", src->purpose);
	json_w_str(w, "state_dir", src->state_dir);
	json_w_u64(w, "state_dir_inode", inode_of(src->state_dir));
	json_w_u64(w, "drain_timeout", src->drain_timeout_s);
	json_w_i64(w, "started", src->started);
	json_w_i64(w, "time", clock_wall_s());
}

static void put_listing(struct json_writer *w, const struct status_source *src)
{
	if (!src->listing.under_way)
		return;
	json_w_object(w, "listing");
	json_w_bool(w, "first", !src->listing.known);
	json_w_u64(w, "pages", src->listing.pages);
	json_w_u64(w, "files", src->listing.files);
	json_w_u64(w, "seconds", src->listing.seconds);
	json_w_end_object(w);
}

struct unusable {
	struct json_writer *w;
	const struct status_source *src;
	unsigned count;
};

static int put_unusable(void *arg, const char *label, const char *file_id, const char *details)
{
	struct unusable *u = arg;
	const char *slash = u->src->purpose ? strchr(label, '/') : NULL;

	if (u->count++ >= STATUS_FILES_MAX)
		return 0;
	json_w_object(u->w, NULL);
	json_w_str(u->w, "path", slash ? slash + 1 : label);
	json_w_str(u->w, "file_id", file_id);
	put_text(u->w, "status_details", details);
	json_w_end_object(u->w);
	return 0;
}

int status_json(const struct status_source *src, struct buf *ret)
{
	struct publish_rows rows;
	struct json_writer w;
	struct unusable unusable = { &w, src, 0 };
	struct totals totals;
	size_t shown;
	int r = take_rows(src, &rows, &totals);

	if (r)
		return r;
	shown = rows.count < STATUS_FILES_MAX ? rows.count : STATUS_FILES_MAX;
	json_w_init(&w, ret);
	json_w_object(&w, NULL);
	put_daemon(&w, src);
	put_totals(&w, src, &totals);
	put_service(&w, src);
	put_space(&w, src);
	put_listing(&w, src);
	json_w_array(&w, "files");
	for (size_t i = 0; i < shown; i++) {
		/* One line per file, for human readers. */
		buf_adds(ret, "\n");
		put_file(&w, src, &rows.v[i]);
	}
	json_w_end_array(&w);
	json_w_u64(&w, "files_omitted", rows.count - shown);
	json_w_array(&w, "unusable");
	r = src->each_unusable ? src->each_unusable(src->each_arg, put_unusable, &unusable) : 0;
	json_w_end_array(&w);
	json_w_end_object(&w);
	publish_rows_free(&rows);
	return r ? r : buf_addc(ret, '\n');
}

static void log_row(const struct publish_row *row)
{
	const struct publish_info *info = &row->info;

	log_always("status: %s/%s: %s, %llu bytes, %llu sent, parts %u/%u%s%s", row->purpose,
		   row->path, info->status, (unsigned long long)row->size,
		   (unsigned long long)info->sent_bytes, info->parts_done, info->parts_total,
		   info->error[0] ? ": " : "", info->error);
}

void status_log(const struct status_source *src)
{
	struct publisher_counts c;
	struct publish_rows rows;
	struct totals t;

	if (take_rows(src, &rows, &t)) {
		log_error("status: out of memory");
		return;
	}
	publisher_get_counts(src->publisher, &c);
	log_always("status: %u publishing, %u being written, %u held, %u failed, %u aborted, %llu "
		   "published since the start",
		   t.files[W_PUBLISHING], t.files[W_STREAMING] + t.files[W_WRITING],
		   t.files[W_HELD], t.files[W_FAILED], t.files[W_ABORTED],
		   (unsigned long long)c.completed);
	for (size_t i = 0; i < rows.count && i < LOG_FILES_MAX; i++)
		log_row(&rows.v[i]);
	if (rows.count > LOG_FILES_MAX)
		log_always("status: and %zu more", rows.count - LOG_FILES_MAX);
	publish_rows_free(&rows);
}
