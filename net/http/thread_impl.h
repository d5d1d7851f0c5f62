/*
 * The network thread's own state: struct http. Included only by thread.c and the files that run
 * transfers on that thread (xfer.c, end.c).
 */
#ifndef UPLOADFS_NET_HTTP_THREAD_IMPL_H
#define UPLOADFS_NET_HTTP_THREAD_IMPL_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "net/http/network.h"
#include "net/http/rate.h"
#include "net/http/thread.h"

TAILQ_HEAD(http_xfers, http_xfer);
STAILQ_HEAD(http_tasks, http_task);

struct http {
	CURLM *multi;
	pthread_t thread;
	struct http_config cfg;
	struct network network;
	char *user_agent;
	bool stopped; /* the thread was joined */
	atomic_ullong sent, received;

	pthread_mutex_t lock;
	struct http_tasks tasks; /* by lock */
	bool stopping, closed;	 /* by lock; closed: tasks are refused */

	struct http_xfers xfers; /* network thread only, as all below */
	uint64_t watch_at;
	uint64_t turn_no; /* turns of the loop so far */
	struct http_rate up_rate, down_rate;
};

#endif
