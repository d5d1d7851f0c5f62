#include "net/http/url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct url {
	bool https;
	char host[URL_HOST_MAX + 1]; /* an IPv6 address without its brackets */
	unsigned port;
	const char *rest; /* from the path on */
};

bool url_is_https(const char *url)
{
	return !strncasecmp(url, "https://", 8);
}

static bool host_char(char c, bool v6)
{
	return v6 ? isxdigit((unsigned char)c) || c == ':' || c == '.'
		  : isalnum((unsigned char)c) || c == '-' || c == '.' || c == '_';
}

/* The digits of a port; -EINVAL unless they make a number in 1..65535. */
static int split_port(const char *s, size_t len, unsigned *ret)
{
	unsigned port = 0;
	size_t i;

	if (!len || len > 5)
		return -EINVAL;
	for (i = 0; i < len; i++) {
		if (!isdigit((unsigned char)s[i]))
			return -EINVAL;
		port = port * 10 + (unsigned)(s[i] - '0');
	}
	if (!port || port > 65535)
		return -EINVAL;
	*ret = port;
	return 0;
}

static int url_split(const char *text, struct url *ret)
{
	struct url u = { .https = url_is_https(text) };
	const char *at, *end;
	size_t len = 0;
	bool v6;

	if (!u.https && strncasecmp(text, "http://", 7))
		return -EINVAL;
	at = text + (u.https ? 8 : 7);
	end = at + strcspn(at, "/?#");
	v6 = *at == '[';
	at += v6;
	while (at + len < end && host_char(at[len], v6))
		len++;
	if (!len || len > URL_HOST_MAX || (v6 && at[len] != ']'))
		return -EINVAL;
	memcpy(u.host, at, len);
	at += len + v6;
	u.port = u.https ? 443 : 80;
	if (at < end && (*at != ':' || split_port(at + 1, (size_t)(end - at - 1), &u.port)))
		return -EINVAL;
	u.rest = end;
	*ret = u;
	return 0;
}

int url_check_base(const char *url, const char **ret_why)
{
	const unsigned char *c;
	struct url u;

	for (c = (const unsigned char *)url; *c; c++) {
		if (*c <= ' ' || *c >= 0x7f || *c == '\\') {
			*ret_why = "it holds characters that no URL can hold";
			return -EINVAL;
		}
	}
	if (!url_is_https(url) && strncasecmp(url, "http://", 7))
		*ret_why = "it must begin with https:// or http://";
	else if (strcspn(url, "@") < strlen(url))
		*ret_why = "it must not hold a user or a password";
	else if (strpbrk(url, "?#"))
		*ret_why = "it must not hold a query or a fragment";
	else if (url_split(url, &u))
		*ret_why = "its host or port is not valid";
	else
		return 0;
	return -EINVAL;
}

bool url_is_loopback(const char *url)
{
	struct in6_addr a6;
	struct in_addr a4;
	struct url u;

	if (url_split(url, &u))
		return false;
	if (inet_pton(AF_INET, u.host, &a4) == 1)
		return ntohl(a4.s_addr) >> 24 == 127;
	if (inet_pton(AF_INET6, u.host, &a6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&a6);
	return !strcasecmp(u.host, "localhost");
}

bool url_host(const char *url, char ret[URL_HOST_MAX + 1])
{
	struct url u;

	if (url_split(url, &u))
		return false;
	memcpy(ret, u.host, sizeof(u.host));
	return true;
}

unsigned url_port(const char *url)
{
	struct url u;

	return url_split(url, &u) ? 0 : u.port;
}

bool url_same_origin(const char *a, const char *b)
{
	struct url ua, ub;

	return !url_split(a, &ua) && !url_split(b, &ub) && ua.https == ub.https &&
	       ua.port == ub.port && !strcasecmp(ua.host, ub.host);
}

void url_encode(struct buf *b, const char *text)
{
	for (; *text; text++) {
		if (isalnum((unsigned char)*text) || strchr("-._~", *text))
			buf_addc(b, *text);
		else
			buf_addf(b, "%%%02X", (unsigned)(unsigned char)*text);
	}
}
