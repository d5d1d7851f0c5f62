/*
 * struct api: what api.c sets up and call.c makes requests from. Included only by these two.
 */
#ifndef UPLOADFS_NET_API_API_IMPL_H
#define UPLOADFS_NET_API_API_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "net/api/api.h"
#include "net/api/health.h"
#include "net/base/hist.h"
#include "net/http/queue.h"

struct api {
	struct hq *q;
	char *base;		      /* without a slash at its end */
	char *organization, *project; /* whole headers, or NULL */
	const char *auth_form;	      /* of the header with the key, for printf */
	char *query;		      /* "api-version=…", or NULL */
	bool key_may_go;	      /* https, loopback, or allow_http */
	struct hist times[API_OPS];   /* of attempts */
	atomic_ullong failed[API_OPS];
	struct health health;
	unsigned idle_s, connect_s;
	pthread_mutex_t lock;
	char *key; /* by lock; NULL: none */
};

#endif
