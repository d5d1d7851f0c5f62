/*
 * url: the few questions about a URL that decide where the key may go.
 *
 * Pure, any thread. The grammar is narrower than RFC 3986 on purpose: what is
 * read in only one way cannot be read differently by curl. A URL outside of it
 * has no host here: it is refused, is not loopback, and shares no origin.
 */
#ifndef UPLOADFS_NET_HTTP_URL_H
#define UPLOADFS_NET_HTTP_URL_H

#include <stdbool.h>

#include "net/base/buf.h"

#define URL_HOST_MAX 255 /* bytes of a DNS name, RFC 1035 */

/* http or https with a host, no user, query or fragment: 0, else -EINVAL and why in *ret_why. */
int url_check_base(const char *url, const char **ret_why);
bool url_is_https(const char *url);
bool url_is_loopback(const char *url); /* 127.0.0.0/8, [::1], localhost */
/* Finds the host of url (IPv6 without brackets). False, with ret unchanged: there is none. */
bool url_host(const char *url, char ret[URL_HOST_MAX + 1]);
/* Returns the port, also the default one; 0: url has no host. */
unsigned url_port(const char *url);
/* Returns whether scheme, host and port are equal; a default port equals none. */
bool url_same_origin(const char *a, const char *b);
/* Appends text with all but unreserved characters percent-encoded. */
void url_encode(struct buf *b, const char *text);

#endif
