/*
 * http_end: the end of a transfer: redirects, its result, time-outs. Network thread only.
 */
#ifndef UPLOADFS_NET_HTTP_END_H
#define UPLOADFS_NET_HTTP_END_H

#include <curl/curl.h>
#include <stdint.h>

#include "net/http/thread.h"

#define HTTP_WATCH_MS 500 /* between two looks of http_watch() */

/*
 * Ends the transfer with curl's code: follows a redirect, or calls its done callback and frees
 * it.
 */
void http_finish(struct http_xfer *x, CURLcode code);

/* Ends transfers that have not moved for too long. now: clock_mono_ms(). */
void http_watch(struct http *h, uint64_t now);

#endif
