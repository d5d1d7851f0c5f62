#include "net/http/network.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "net/http/url.h"

#define PROXY_MAX 2048 /* bytes of a proxy's URL */

/* ---- copies ---- */

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void network_release_proxy(struct network_proxy *p)
{
	free(p->url);
	free(p->user);
	wipe(p->password);
	memset(p, 0, sizeof(*p));
}

void network_release(struct network *n)
{
	network_release_proxy(&n->http);
	network_release_proxy(&n->https);
	free(n->no_proxy);
	free(n->ca_file);
	free(n->ca_dir);
	free(n->client_cert);
	free(n->client_key);
	free(n->bind);
	memset(n, 0, sizeof(*n));
}

static int copy_text(const char *from, char **ret)
{
	*ret = from ? strdup(from) : NULL;
	return from && !*ret ? -ENOMEM : 0;
}

static int copy_proxy(const struct network_proxy *from, struct network_proxy *to)
{
	return copy_text(from->url, &to->url) || copy_text(from->user, &to->user) ||
			       copy_text(from->password, &to->password)
		       ? -ENOMEM
		       : 0;
}

int network_copy(const struct network *from, struct network *ret)
{
	struct network n = { 0 };

	if (from &&
	    (copy_proxy(&from->http, &n.http) || copy_proxy(&from->https, &n.https) ||
	     copy_text(from->no_proxy, &n.no_proxy) || copy_text(from->ca_file, &n.ca_file) ||
	     copy_text(from->ca_dir, &n.ca_dir) || copy_text(from->client_cert, &n.client_cert) ||
	     copy_text(from->client_key, &n.client_key) || copy_text(from->bind, &n.bind))) {
		network_release(&n);
		return -ENOMEM;
	}
	n.up = from ? from->up : 0;
	n.down = from ? from->down : 0;
	*ret = n;
	return 0;
}

/* ---- the URL of a proxy ---- */

static int hex_digit(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	return isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/*
 * Returns len bytes with %XX decoded, as a new string. NULL: a bad %XX, a control byte, or no
 * memory.
 */
static char *decode(const char *text, size_t len)
{
	char *out = malloc(len + 1);
	size_t i = 0, n = 0;
	int high, low;

	while (out && i < len) {
		if (text[i] != '%' && (unsigned char)text[i] >= ' ') {
			out[n++] = text[i++];
			continue;
		}
		high = text[i] == '%' && len - i > 2 ? hex_digit(text[i + 1]) : -1;
		low = high >= 0 ? hex_digit(text[i + 2]) : -1;
		if (low < 0 || high * 16 + low < ' ') {
			out[n] = '\0';
			wipe(out);
			return NULL;
		}
		out[n++] = (char)(high * 16 + low);
		i += 3;
	}
	if (out)
		out[n] = '\0';
	return out;
}

static int take_login(const char *text, size_t len, struct network_proxy *p)
{
	const char *colon = memchr(text, ':', len);
	size_t user = colon ? (size_t)(colon - text) : len;

	p->user = decode(text, user);
	if (p->user && colon)
		p->password = decode(colon + 1, len - user - 1);
	return p->user && (p->password || !colon) ? 0 : -EINVAL;
}

/* Returns the scheme of a proxy's URL, or NULL; *ret_rest: the text after it. */
static const char *take_scheme(const char *text, const char **ret_rest)
{
	static const char *const known[] = { "http",	"https",  "socks4",
					     "socks4a", "socks5", "socks5h" };
	const char *sep = strstr(text, "://");
	size_t i, len = sep ? (size_t)(sep - text) : 0;

	*ret_rest = sep ? sep + 3 : text;
	if (!sep)
		return known[0];
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strlen(known[i]) == len && !strncasecmp(known[i], text, len))
			return known[i];
	}
	return NULL;
}

/* Host and port by the grammar of net/http/url.h, so that curl can't read them differently. */
static int take_host(const char *scheme, const char *text, size_t len, struct network_proxy *p)
{
	const char *why;
	char *as_url;
	int rc;

	if (asprintf(&as_url, "http://%.*s", (int)len, text) < 0)
		return -ENOMEM;
	rc = url_check_base(as_url, &why);
	free(as_url);
	if (!rc && asprintf(&p->url, "%s://%.*s", scheme, (int)len, text) < 0) {
		p->url = NULL;
		rc = -ENOMEM;
	}
	return rc;
}

int network_parse_proxy(const char *text, struct network_proxy *ret, const char **ret_why)
{
	struct network_proxy p = { 0 };
	const char *at, *scheme = take_scheme(text, &at), *host, *end;
	int rc = -EINVAL;

	*ret_why = "it is not of the form http://HOST:PORT";
	if (!scheme) {
		*ret_why = "its scheme is not http, https, socks4, socks4a, socks5 or socks5h";
		return -EINVAL;
	}
	end = at + strcspn(at, "/?#");
	/* Take the last '@': a password may hold another. */
	host = memrchr(at, '@', (size_t)(end - at));
	if (strlen(text) > PROXY_MAX || (*end && strcmp(end, "/")))
		return -EINVAL;
	if (host && take_login(at, (size_t)(host - at), &p)) {
		*ret_why = "its user or password holds a bad %XX";
		goto fail;
	}
	at = host ? host + 1 : at;
	rc = take_host(scheme, at, (size_t)(end - at), &p);
	if (rc)
		goto fail;
	*ret = p;
	return 0;
fail:
	network_release_proxy(&p);
	return rc;
}

/* ---- which proxy ---- */

/* Returns whether the first bits of two addresses of one family are equal. */
static bool same_bits(const unsigned char *a, const unsigned char *b, unsigned bits)
{
	unsigned rest = bits % 8;

	if (memcmp(a, b, bits / 8))
		return false;
	return !rest || !((a[bits / 8] ^ b[bits / 8]) >> (8 - rest));
}

/*
 * Returns whether host is an address in the block "ADDRESS" or "ADDRESS/BITS". False also if either
 * is malformed.
 */
static bool in_block(const char *block, const char *host)
{
	unsigned char a[sizeof(struct in6_addr)], b[sizeof(struct in6_addr)];
	int family = strchr(host, ':') ? AF_INET6 : AF_INET;
	unsigned long bits, all = family == AF_INET ? 32 : 128;
	char address[INET6_ADDRSTRLEN], *end;
	size_t len = strcspn(block, "/");

	if (len >= sizeof(address))
		return false;
	memcpy(address, block, len);
	address[len] = '\0';
	if (inet_pton(family, address, a) != 1 || inet_pton(family, host, b) != 1)
		return false;
	if (!block[len])
		return same_bits(a, b, (unsigned)all);
	bits = strtoul(block + len + 1, &end, 10);
	return isdigit((unsigned char)block[len + 1]) && !*end && bits <= all &&
	       same_bits(a, b, (unsigned)bits);
}

static bool in_domain(const char *domain, const char *host)
{
	size_t len, host_len = strlen(host);

	if (!strncmp(domain, "*.", 2))
		domain++;
	domain += *domain == '.';
	len = strlen(domain);
	if (!len || len > host_len || strcasecmp(host + host_len - len, domain))
		return false;
	return len == host_len || host[host_len - len - 1] == '.';
}

/* Cuts ":PORT" from a word of the list. False: it has one, and another than this. */
static bool take_port(char *word, unsigned port)
{
	char *colon = strrchr(word, ':'), *end;
	unsigned long n;

	/* More than one colon and no brackets: an IPv6 address, which has no port. */
	if (!colon || (*word == '[' ? colon[-1] != ']' : strchr(word, ':') != colon))
		return true;
	n = strtoul(colon + 1, &end, 10);
	if (!isdigit((unsigned char)colon[1]) || *end || n != port)
		return false;
	*colon = '\0';
	return true;
}

bool network_listed(const char *list, const char *host, unsigned port)
{
	char word[URL_HOST_MAX + sizeof("[]:65535")], *text;
	size_t len;

	for (; list && *list; list += len + (list[len] != '\0')) {
		len = strcspn(list, ", \t");
		if (!len || len >= sizeof(word))
			continue;
		memcpy(word, list, len);
		word[len] = '\0';
		if (!take_port(word, port))
			continue;
		text = word;
		if (*text == '[' && text[strlen(text) - 1] == ']') {
			text[strlen(text) - 1] = '\0';
			text++;
		}
		if (!strcmp(text, "*") || in_block(text, host) || in_domain(text, host))
			return true;
	}
	return false;
}

const struct network_proxy *network_proxy_for(const struct network *n, const char *url)
{
	const struct network_proxy *p = url_is_https(url) ? &n->https : &n->http;
	char host[URL_HOST_MAX + 1];

	if (!p->url || url_is_loopback(url))
		return NULL;
	if (url_host(url, host) && network_listed(n->no_proxy, host, url_port(url)))
		return NULL;
	return p;
}
