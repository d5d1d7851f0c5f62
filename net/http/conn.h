/*
 * http_conn: the way a transfer connects (certificates, local address, proxy), and the cause of
 * a failed connection. Network thread only; nothing blocks.
 */
#ifndef UPLOADFS_NET_HTTP_CONN_H
#define UPLOADFS_NET_HTTP_CONN_H

#include <curl/curl.h>
#include <stdbool.h>

#include "net/http/network.h"
#include "net/http/thread.h"

/* Sets certificates and the local address: the same for every hop. n outlives the transfer. */
void http_conn_setup(CURL *easy, const struct network *n);

/* Sets the proxy for url, if any; ret_proxied: whether there is one. 0 or -ENOMEM. */
int http_conn_route(CURL *easy, const struct network *n, const char *url, bool *ret_proxied);

/*
 * Sets the certificate that we present; none unless home: another host than the service's learns
 * nothing of us. 0 or -ENOMEM.
 */
int http_conn_present(CURL *easy, const struct network *n, bool home);

/*
 * Sets res->cause of a failed connection. If a proxy answered, also sets res->fail and
 * res->text, with the text in error (CURL_ERROR_SIZE bytes). A no-op if
 * the failure is local or the request refused. Only for a transfer that sent nothing.
 */
void http_conn_explain(CURL *easy, CURLcode code, bool proxied, struct http_result *res,
		       char error[CURL_ERROR_SIZE]);

#endif
