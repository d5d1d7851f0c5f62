#include "net/api/health.h"

#include <string.h>

#include "net/base/clock.h"

enum verdict { ANSWERS, FAILS, TELLS_NOTHING };

void health_init(struct health *h)
{
	memset(h, 0, sizeof(*h));
	pthread_mutex_init(&h->lock, NULL);
}

void health_destroy(struct health *h)
{
	pthread_mutex_destroy(&h->lock);
}

static enum verdict judge_status(enum api_op op, const struct api_error *err)
{
	int status = err->http_status;

	if (status == 429)
		return strcmp(err->code, "insufficient_quota") ? TELLS_NOTHING : FAILS;
	if (status >= 500 || status == 401 || status == 403 || status == 407)
		return FAILS;
	return op == API_OP_LIST ? FAILS : ANSWERS;
}

static enum verdict judge(enum api_op op, const struct api_error *err)
{
	switch (err->kind) {
	case API_OK:
		return ANSWERS;
	case API_ERR_HTTP:
		return judge_status(op, err);
	case API_ERR_CONNECT:
	case API_ERR_TLS:
	case API_ERR_TIMEOUT:
	case API_ERR_BAD_REPLY:
	case API_ERR_CONFIG:
		return FAILS;
	default:
		return TELLS_NOTHING;
	}
}

void health_note(struct health *h, enum api_op op, const struct api_error *err)
{
	enum verdict v = judge(op, err);
	int64_t now = clock_wall_s();

	if (v == TELLS_NOTHING)
		return;
	pthread_mutex_lock(&h->lock);
	if (v == ANSWERS) {
		h->now.last_answer_s = now;
		h->now.failing_since_s = 0;
	} else {
		if (!h->now.failing_since_s)
			h->now.failing_since_s = now;
		h->now.last_failure_s = now;
		api_error_text(err, h->now.last_failure, sizeof(h->now.last_failure));
	}
	pthread_mutex_unlock(&h->lock);
}

void health_get(struct health *h, struct api_health *ret)
{
	pthread_mutex_lock(&h->lock);
	*ret = h->now;
	pthread_mutex_unlock(&h->lock);
}
