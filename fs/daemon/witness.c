/*
 * Files of an account as witnesses of it.
 */
#include "fs/daemon/witness.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/config/opts.h"
#include "fs/state/tenant.h"
#include "net/api/api.h"

#define WITNESS_MAX 8
#define TRY_S 1 /* retry_timeout: two tries */

struct asking {
	pthread_mutex_t lock;
	pthread_cond_t told;
	bool done;
	struct api_error err;
};

static void on_file(void *arg, const struct api_error *err, const struct api_file *file)
{
	struct asking *a = arg;

	(void)file;
	pthread_mutex_lock(&a->lock);
	a->err = *err;
	a->done = true;
	pthread_cond_signal(&a->told);
	pthread_mutex_unlock(&a->lock);
}

/* 0 once answered, -ENOMEM. */
static int ask_one(struct api *api, const char *id, struct api_error *ret)
{
	struct asking a = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, { 0 } };
	struct api_req *req = api_file_get(api, id, on_file, &a);

	if (!req)
		return -ENOMEM;
	pthread_mutex_lock(&a.lock);
	while (!a.done)
		pthread_cond_wait(&a.told, &a.lock);
	pthread_mutex_unlock(&a.lock);
	api_req_unref(req);
	*ret = a.err;
	return 0;
}

static int ask_all(const struct opts *o, char **ids, unsigned count, char *text, size_t size,
		   enum witness_verdict *ret)
{
	struct api_error err = { 0 };
	struct api_config ac;
	struct api *api = NULL;
	int r;

	opts_api_config(o, &ac);
	ac.parallel = 1;
	ac.retry_timeout_s = TRY_S;
	r = api_new(&ac, &api);
	*ret = WITNESS_OTHER;
	for (unsigned k = 0; !r && *ret == WITNESS_OTHER && k < count; k++) {
		snprintf(text, size, "%s", ids[k]);
		r = ask_one(api, ids[k], &err);
		if (r)
			break;
		if (err.kind == API_OK)
			*ret = WITNESS_SAME;
		else if (err.http_status != 404) {
			api_error_text(&err, text, size);
			*ret = WITNESS_SILENT;
		}
	}
	api_free(api);
	return r;
}

int witness_ask(const struct opts *o, struct statedb *db, char *ret_text, size_t size,
		enum witness_verdict *ret)
{
	char *ids[WITNESS_MAX];
	unsigned count = 0, usable = 0;
	int r = tenant_witnesses(db, WITNESS_MAX, ids, &count);

	for (unsigned k = 0; !r && k < count; k++) {
		if (api_id_valid(ids[k]))
			ids[usable++] = ids[k];
		else
			free(ids[k]);
	}
	*ret_text = '\0';
	if (!r && !usable)
		*ret = WITNESS_NONE;
	else if (!r)
		r = ask_all(o, ids, usable, ret_text, size, ret);
	while (usable)
		free(ids[--usable]);
	return r;
}
