#include "net/http/old_curl.h"

#if LIBCURL_VERSION_NUM < 0x075000

old_curl_send_fn *old_curl_send;

/* The head holds the key: it is looked at by nobody. */
int old_curl_trace(CURL *e, curl_infotype type, char *data, size_t size, void *arg)
{
	(void)e, (void)data, (void)size;
	if (type == CURLINFO_HEADER_OUT)
		old_curl_send(arg, NULL, NULL, 0, 0);
	return 0;
}

#else

typedef int old_curl_is_not_needed; /* ISO C wants a declaration */

#endif
