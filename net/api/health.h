/*
 * health: whether the service answers, judged by each attempt of each call. Any thread.
 */
#ifndef UPLOADFS_NET_API_HEALTH_H
#define UPLOADFS_NET_API_HEALTH_H

#include <pthread.h>

#include "net/api/api.h"

struct health {
	pthread_mutex_t lock;
	struct api_health now; /* by lock */
};

void health_init(struct health *h);
void health_destroy(struct health *h);
/*
 * Note the outcome of one attempt. An answer about the request itself (404 of a File, 400) is an
 * answer; one about the account, the proxy or the service (401, 403, 407, 429 with an exhausted
 * quota, 5xx) is a failure, as is any refusal of a list. A plain 429 changes nothing.
 */
void health_note(struct health *h, enum api_op op, const struct api_error *err);
void health_get(struct health *h, struct api_health *ret);

#endif
