/* net/url: a base URL that is taken has a host and an origin, and no trick of spelling in it. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "net/http/url.h"
#include "tests/fuzz/support.h"

static void check_base(const char *url)
{
	char host[URL_HOST_MAX + 1], *at;
	const char *why = NULL;
	bool has_host = url_host(url, host);

	must(url_same_origin(url, url) == has_host);
	must(!url_is_loopback(url) || has_host);
	if (has_host) {
		must(*host && strlen(host) <= URL_HOST_MAX);
		for (at = host; *at; at++)
			must(isalnum((unsigned char)*at) || strchr("-._:", *at));
	}
	if (url_check_base(url, &why)) {
		must(why && *why);
		return;
	}
	must(has_host && !strpbrk(url, "@?#\\ "));
	/* The key goes to the same place whatever stands behind the host. */
	at = strdup(url);
	must(at);
	at[8 + strcspn(at + 8, "/")] = '\0';
	must(url_same_origin(url, at));
	free(at);
}

static void check_encode(const char *text)
{
	struct buf b = { .max = 1 << 24 };
	unsigned byte;
	const char *s;

	url_encode(&b, text);
	must(!b.err);
	for (s = buf_str(&b); *s; text++) {
		byte = (unsigned char)*s;
		if (*s == '%') {
			must(isxdigit((unsigned char)s[1]) && isxdigit((unsigned char)s[2]));
			byte = (unsigned)strtoul((char[]){ s[1], s[2], 0 }, NULL, 16);
		} else {
			must(isalnum((unsigned char)*s) || strchr("-._~", *s));
		}
		must(byte == (unsigned char)*text);
		s += *s == '%' ? 3 : 1;
	}
	must(!*text);
	buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *url = fuzz_text(data, size);

	check_base(url);
	check_encode(url);
	free(url);
	return 0;
}
