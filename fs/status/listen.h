/*
 * listen: metrics and health over HTTP, for a scraper and for probes. A thread of its own; a few
 * connections at a time, GET and HEAD only, nothing private: no names of files, no error texts.
 */
#ifndef UPLOADFS_FS_STATUS_LISTEN_H
#define UPLOADFS_FS_STATUS_LISTEN_H

#include <stdbool.h>

struct buf;
struct endpoint;
struct listener;

struct listen_source {
	/* Append the metrics to ret. 0 or negative errno. On the listener's thread. */
	int (*metrics)(void *arg, struct buf *ret);
	bool (*failing)(void *arg); /* the service; on the listener's thread */
	void *arg;
};

/*
 * Serve /metrics, /healthz (200, or 503 while the service fails) and /livez (200). 0, or negative
 * errno after a log line.
 */
int listen_start(const struct endpoint *at, const char *text, const struct listen_source *src,
		 struct listener **ret);
/* Returns when no request is under way. NULL is a no-op. */
void listen_stop(struct listener *l);

#endif
