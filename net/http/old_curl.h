/*
 * old_curl: what libcurl before 7.88 lacks, and what stands for it. Private to net/http.
 *
 * Before 7.85: the protocols as a mask. Before 7.81: a quote in a filename is escaped as \" without
 * being asked. Before 7.80: without a function before each request, curl's own second try after a
 * kept connection broke can't be stopped, so every request that changes anything has a connection
 * of its own. Before 7.87: certificates are read for each connection.
 */
#ifndef UPLOADFS_NET_HTTP_OLD_CURL_H
#define UPLOADFS_NET_HTTP_OLD_CURL_H

#include <curl/curl.h>
#include <stdbool.h>

static inline CURLcode old_curl_protocols(CURL *e)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	return curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	return curl_easy_setopt(e, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

static inline CURLcode old_curl_escape_quotes(CURL *e)
{
#if LIBCURL_VERSION_NUM >= 0x075100
	return curl_easy_setopt(e, CURLOPT_MIME_OPTIONS, (long)CURLMIMEOPT_FORMESCAPE);
#else
	(void)e;
	return CURLE_OK;
#endif
}

static inline void old_curl_cache_ca(CURL *e, long seconds)
{
#if LIBCURL_VERSION_NUM >= 0x075700
	curl_easy_setopt(e, CURLOPT_CA_CACHE_TIMEOUT, seconds);
#else
	(void)e, (void)seconds;
#endif
}

typedef int old_curl_send_fn(void *arg, char *remote, char *local, int remote_port, int local_port);

#if LIBCURL_VERSION_NUM >= 0x075000

/* Calls fn before each sending of the request; changes: a second sending does harm. */
static inline void old_curl_before_send(CURL *e, old_curl_send_fn *fn, void *arg, bool changes)
{
	(void)changes;
	curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, fn);
	curl_easy_setopt(e, CURLOPT_PREREQDATA, arg);
}

#else

#define CURL_PREREQFUNC_OK 0
#define CURL_PREREQFUNC_ABORT 1

int old_curl_trace(CURL *e, curl_infotype type, char *data, size_t size, void *arg);

/* Here fn is the same for all transfers, and runs once the head has been sent. */
static inline void old_curl_before_send(CURL *e, old_curl_send_fn *fn, void *arg, bool changes)
{
	extern old_curl_send_fn *old_curl_send;

	old_curl_send = fn;
	curl_easy_setopt(e, CURLOPT_VERBOSE, 1L);
	curl_easy_setopt(e, CURLOPT_DEBUGFUNCTION, old_curl_trace);
	curl_easy_setopt(e, CURLOPT_DEBUGDATA, arg);
	if (changes)
		curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
}

#endif

#endif
