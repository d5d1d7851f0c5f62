#include "net/api/api.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/api/api_impl.h"
#include "net/base/log.h"
#include "net/http/url.h"

#define API_CONNECT_TIMEOUT_S 10
#define API_IDLE_TIMEOUT_S 60
#define API_RETRY_TIMEOUT_S 120

/* A control character would end the header. */
static bool header_safe(const char *s)
{
	for (; s && *s; s++) {
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	}
	return true;
}

static int make_header(char **ret, const char *name, const char *value)
{
	if (!value || !*value)
		return 0;
	if (asprintf(ret, "%s: %s", name, value) >= 0)
		return 0;
	*ret = NULL;
	return -ENOMEM;
}

int api_set_key(struct api *api, const char *key)
{
	char *copy = NULL;

	if (!header_safe(key))
		return -EINVAL;
	if (key && *key) {
		copy = strdup(key);
		if (!copy)
			return -ENOMEM;
		log_secret(key);
	}
	pthread_mutex_lock(&api->lock);
	free(api->key);
	api->key = copy;
	pthread_mutex_unlock(&api->lock);
	return 0;
}

static int api_check(const struct api_config *cfg)
{
	const char *why;

	if (url_check_base(cfg->base_url, &why)) {
		/* Without the URL itself: it may be the key, mistaken for it. */
		log_error("the base URL cannot be used: %s", why);
		return -EINVAL;
	}
	if (!header_safe(cfg->key) || !header_safe(cfg->organization) ||
	    !header_safe(cfg->project) || !header_safe(cfg->user_agent)) {
		log_error("the key, organization or project holds control characters");
		return -EINVAL;
	}
	if (cfg->api_version && *cfg->api_version && !api_word_valid(cfg->api_version)) {
		log_error("the API version holds other characters than letters, digits, . _ and -");
		return -EINVAL;
	}
	return 0;
}

static int make_query(char **ret, const char *version)
{
	if (!version || !*version)
		return 0;
	if (asprintf(ret, "api-version=%s", version) >= 0)
		return 0;
	*ret = NULL;
	return -ENOMEM;
}

static void api_destroy(struct api *api)
{
	health_destroy(&api->health);
	pthread_mutex_destroy(&api->lock);
	free(api->base);
	free(api->organization);
	free(api->project);
	free(api->query);
	free(api->key);
	free(api);
}

/* Sets base to the URL without slashes at its end. */
static int set_base(struct api *api, const char *url)
{
	size_t len = strlen(url);

	while (len && url[len - 1] == '/')
		len--;
	api->base = strndup(url, len);
	return api->base ? 0 : -ENOMEM;
}

/* Sets everything that requests are made from. */
static int api_configure(struct api *api, const struct api_config *cfg)
{
	int rc;

	api->idle_s = cfg->idle_timeout_s ? cfg->idle_timeout_s : API_IDLE_TIMEOUT_S;
	api->auth_form = cfg->azure ? "api-key: %s" : "Authorization: Bearer %s";
	api->key_may_go =
		cfg->allow_http || url_is_https(cfg->base_url) || url_is_loopback(cfg->base_url);
	rc = set_base(api, cfg->base_url);
	if (!rc)
		rc = make_header(&api->organization, "OpenAI-Organization", cfg->organization);
	if (!rc)
		rc = make_header(&api->project, "OpenAI-Project", cfg->project);
	if (!rc)
		rc = make_query(&api->query, cfg->api_version);
	if (!rc)
		rc = api_set_key(api, cfg->key);
	return rc;
}

static int start_queue(struct api *api, const struct api_config *cfg)
{
	unsigned connect_s = cfg->connect_timeout_s, retry_s = cfg->retry_timeout_s;
	struct hq_config hc = {
		.user_agent = cfg->user_agent,
		.parallel = cfg->parallel ? cfg->parallel : 1,
		.connect_timeout_s = connect_s ? connect_s : API_CONNECT_TIMEOUT_S,
		.retry_timeout_ms = (retry_s ? retry_s : API_RETRY_TIMEOUT_S) * 1000ULL,
		.network = cfg->network,
	};

	api->connect_s = hc.connect_timeout_s;
	if (cfg->network) {
		log_secret(cfg->network->http.password);
		log_secret(cfg->network->https.password);
	}
	return hq_new(&hc, &api->q);
}

int api_new(const struct api_config *cfg, struct api **ret)
{
	struct api *api;
	int rc = api_check(cfg);

	if (rc)
		return rc;
	api = calloc(1, sizeof(*api));
	if (!api)
		return -ENOMEM;
	pthread_mutex_init(&api->lock, NULL);
	health_init(&api->health);
	rc = api_configure(api, cfg);
	if (!rc)
		rc = start_queue(api, cfg);
	if (rc) {
		api_destroy(api);
		return rc;
	}
	*ret = api;
	return 0;
}

void api_free(struct api *api)
{
	if (!api)
		return;
	hq_stop(api->q);
	api_destroy(api);
}

void api_get_stats(struct api *api, struct api_stats *ret)
{
	struct hq_counts counts;

	hq_get_counts(api->q, &counts);
	ret->requests = counts.requests;
	ret->retries = counts.retries;
	ret->bytes_sent = counts.bytes_sent;
	ret->bytes_received = counts.bytes_received;
}

void api_get_health(struct api *api, struct api_health *ret)
{
	health_get(&api->health, ret);
}

void api_get_op_stats(struct api *api, enum api_op op, struct api_op_stats *ret)
{
	static const char *const names[API_OPS] = { "create", "part",	 "complete",
						    "cancel", "list",	 "get",
						    "delete", "content", "upload_file" };

	ret->name = names[op];
	hist_get(&api->times[op], &ret->times);
	ret->failed = atomic_load(&api->failed[op]);
}

void api_get_queues(struct api *api, struct api_queue ret[API_QUEUES])
{
	static const char *const names[API_QUEUES] = { "part", "call", "ask", "content", "urgent" };
	struct hq_lengths lengths;

	_Static_assert(API_QUEUES == HQ_CLASSES, "a name for each class");
	for (int c = 0; c < HQ_CLASSES; c++) {
		hq_get_lengths(api->q, (enum hq_class)c, &lengths);
		ret[c] = (struct api_queue){ names[c], lengths.waiting, lengths.delayed,
					     lengths.running };
	}
}
