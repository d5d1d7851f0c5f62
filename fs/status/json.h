/*
 * status: the state of the daemon's work, as a document (docs/status.schema.json),
 * as Prometheus text, and as lines for the log.
 *
 * All three are made at one moment from the counters and snapshots of the parts
 * named in struct status_source. They hold no secret: no key, no header, no
 * content. Any thread but the publisher's; not under vfs's lock; blocks on
 * statvfs() at most. Memory: about 2 KiB for each file that is not published.
 */
#ifndef UPLOADFS_FS_STATUS_JSON_H
#define UPLOADFS_FS_STATUS_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "net/base/buf.h"

struct api;
struct cache;
struct pool;
struct publisher;
struct staging;

typedef int status_unusable_fn(void *arg, const char *label, const char *file_id,
			       const char *details);

#define STATUS_FILES_MAX 10000 /* in one document; the totals count all */
#define STATUS_TEXT_MAX (64U << 20)

struct status_source {
	/* strings: NULL if there is none */
	const char *mountpoint, *service, *purpose, *state_dir;
	int64_t started; /* seconds since the epoch */
	unsigned drain_timeout_s;
	uint64_t cache_max, staging_max; /* bytes */
	struct {
		bool under_way, known;
		uint64_t pages, files, seconds;
	} listing; /* the fetch of the account's list */
	struct api *api;
	struct publisher *publisher;
	struct staging *staging;
	struct cache *cache;
	struct pool *md5, *disk;
	/*
	 * Calls fn for each File that the service could not process: "purpose/path", words or "".
	 * 0, or fn's first error. NULL: there is none.
	 */
	int (*each_unusable)(void *arg, status_unusable_fn *fn, void *fn_arg);
	void *each_arg;
};

/* Append to ret, whose maximum is STATUS_TEXT_MAX. 0, -ENOMEM, -EMSGSIZE. */
int status_json(const struct status_source *src, struct buf *ret);
int status_metrics(const struct status_source *src, struct buf *ret); /* fs/status/metrics.c */
/* Log a line of totals, and one for each file that is not a File yet. */
void status_log(const struct status_source *src);

#endif
