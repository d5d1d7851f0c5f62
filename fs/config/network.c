/* The way to the service: proxy, certificates, local address. */
#include "fs/config/network.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/config/draft.h"
#include "fs/config/key.h"
#include "fs/config/say.h"
#include "fs/config/value.h"
#include "net/http/bucket.h"
#include "net/http/url.h"

#define NO_PROXY_WORD "none"
#define RATE_MIN 1024

/* ---- words of -o ---- */

int opts_set_proxy(struct opts_draft *d, const char *value)
{
	struct network_proxy p = { 0 };
	const char *why;
	char *copy;
	bool login;

	if (strcmp(value, NO_PROXY_WORD) && network_parse_proxy(value, &p, &why))
		/* Do not print a value with a password. */
		return opts_fail("proxy=%s is refused: %s; use proxy=http://HOST:PORT, or "
				 "proxy=none",
				 strchr(value, '@') ? "..." : value, why);
	login = p.user != NULL;
	network_release_proxy(&p);
	if (login)
		return opts_fail("a password on the command line can be read by everybody; put "
				 "USER:PASSWORD into a file only you can read and use "
				 "-o proxy_auth_file=FILE, or set https_proxy");
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(d->o->proxy);
	d->o->proxy = copy;
	return 0;
}

static bool is_interface(const char *text)
{
	size_t i;

	for (i = 0; text[i]; i++) {
		if (!isalnum((unsigned char)text[i]) && !strchr("._:@-", text[i]))
			return false;
	}
	return i && i < IF_NAMESIZE;
}

int opts_set_bind(struct opts_draft *d, const char *value)
{
	unsigned char raw[sizeof(struct in6_addr)];
	char *copy;

	if (inet_pton(AF_INET, value, raw) != 1 && inet_pton(AF_INET6, value, raw) != 1 &&
	    !is_interface(value))
		return opts_fail("bind=%s is neither an IP address nor an interface; use "
				 "bind=192.0.2.1 or bind=eth0",
				 value);
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(d->o->network.bind);
	d->o->network.bind = copy;
	return 0;
}

static int take_rate(const char *value, uint64_t *ret)
{
	uint64_t rate = 0;
	int rc = opts_number(OPTS_SIZE, "rate_limit", value, 0, &rate);

	if (!rc && rate && (rate < RATE_MIN || rate > BUCKET_RATE_MAX))
		rc = opts_fail(
			"rate_limit=%s is out of range; use bytes a second from 1K, or 0 for "
			"no limit",
			value);
	if (!rc)
		*ret = rate;
	return rc;
}

int opts_set_rate_limit(struct opts_draft *d, const char *value)
{
	struct network *n = &d->o->network;
	const char *colon = strchr(value, ':');
	char *up = strndup(value, strcspn(value, ":"));
	int rc = up ? take_rate(up, &n->up) : -ENOMEM;

	free(up);
	n->down = 0; /* from an earlier rate_limit= */
	return rc || !colon ? rc : take_rate(colon + 1, &n->down);
}

/* ---- the environment ---- */

/* The first of names (NULL at the end) that is set and not empty. */
static const char *first_env(const char *const *names, const char **ret_name)
{
	const char *value;

	for (; *names; names++) {
		value = getenv(*names);
		if (value && *value) {
			*ret_name = *names;
			return value;
		}
	}
	return NULL;
}

/* As curl: skip HTTP_PROXY, which a web server sets from a visitor's header. */
static const char *const http_names[] = { "http_proxy", "all_proxy", "ALL_PROXY", NULL };
static const char *const https_names[] = { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
					   NULL };
static const char *const no_names[] = { "no_proxy", "NO_PROXY", NULL };

/* needed: the base URL uses this proxy, so an unusable value is an error. */
static int env_proxy(const char *const *names, bool needed, struct network_proxy *ret,
		     const char **ret_from)
{
	const char *value = first_env(names, ret_from), *why;
	int rc = value ? network_parse_proxy(value, ret, &why) : 0;

	if (rc == -EINVAL && !needed)
		return 0;
	if (rc == -EINVAL)
		return opts_fail("%s is refused: %s; use http://HOST:PORT, or -o proxy=none to go "
				 "without",
				 *ret_from, why);
	return rc;
}

static int take_env_proxies(struct opts *o)
{
	bool https = url_is_https(o->base_url), away = !url_is_loopback(o->base_url);
	const char *http_from = NULL, *https_from = NULL, *no_from, *no;
	struct network *n = &o->network;
	int rc = env_proxy(http_names, away && !https, &n->http, &http_from);

	if (!rc)
		rc = env_proxy(https_names, away && https, &n->https, &https_from);
	o->proxy_from = https ? https_from : http_from;
	no = first_env(no_names, &no_from);
	if (!rc && no) {
		n->no_proxy = strdup(no);
		rc = n->no_proxy ? 0 : -ENOMEM;
	}
	return rc;
}

/* Hide a password already copied from /proc/PID/environ. */
static void scrub_env_proxies(void)
{
	const char *const *const lists[] = { http_names, https_names };
	const char *value;
	size_t l, i;

	for (l = 0; l < sizeof(lists) / sizeof(lists[0]); l++) {
		for (i = 0; lists[l][i]; i++) {
			value = getenv(lists[l][i]);
			if (value && strchr(value, '@'))
				opts_scrub_env(lists[l][i]);
		}
	}
}

/* An explicit proxy= applies to all URLs, whatever NO_PROXY says. */
static int take_proxy(struct opts *o)
{
	const char *why;

	o->proxy_from = "proxy=";
	if (!strcmp(o->proxy, NO_PROXY_WORD))
		return 0;
	if (network_parse_proxy(o->proxy, &o->network.http, &why) ||
	    network_parse_proxy(o->proxy, &o->network.https, &why))
		return -ENOMEM; /* the value was checked before */
	return 0;
}

static int env_path(const char *name, char **field)
{
	const char *value = getenv(name);

	if (!value || !*value)
		return 0;
	*field = strdup(value);
	return *field ? 0 : -ENOMEM;
}

int opts_network_env(struct opts *o)
{
	int rc;

	if (o->local_dir)
		return 0;
	rc = o->proxy ? take_proxy(o) : take_env_proxies(o);
	scrub_env_proxies();
	if (rc || o->network.ca_file)
		return rc;
	rc = env_path("SSL_CERT_FILE", &o->network.ca_file);
	o->ca_from_env = o->network.ca_file != NULL;
	return rc ? rc : env_path("SSL_CERT_DIR", &o->network.ca_dir);
}

/* ---- files ---- */

static bool holds_certificate(FILE *f)
{
	char *line = NULL;
	bool found = false;
	size_t size = 0;

	/* "CERTIFICATE" and "TRUSTED CERTIFICATE" */
	while (!found && getline(&line, &size, f) > 0)
		found = !strncmp(line, "-----BEGIN ", 11) && strstr(line, "CERTIFICATE-----");
	free(line);
	return found;
}

static int check_ca_file(const struct opts *o)
{
	const char *path = o->network.ca_file, *name = o->ca_from_env ? "SSL_CERT_FILE" : "ca_file";
	struct stat st;
	bool good;
	FILE *f;

	/* Ignore certificates from the environment if the service uses no TLS. */
	if (!path || (o->ca_from_env && !url_is_https(o->base_url)))
		return 0;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return opts_fail("%s %s is no file; name a file with certificates (PEM)", name,
				 path);
	f = fopen(path, "re");
	if (!f)
		return opts_fail("%s %s: %s; name a file with certificates (PEM)", name, path,
				 strerror(errno));
	good = holds_certificate(f);
	fclose(f);
	return good ? 0
		    : opts_fail("%s %s holds no certificate; name a file with certificates (PEM)",
				name, path);
}

static int set_login(struct network_proxy *p, const char *user, size_t len, const char *password)
{
	if (!p->url)
		return 0;
	free(p->user);
	opts_wipe(p->password);
	p->user = strndup(user, len);
	p->password = strdup(password);
	return p->user && p->password ? 0 : -ENOMEM;
}

static int take_login(struct opts *o)
{
	const char *path = o->proxy_auth_file, *colon;
	char *text = NULL;
	int rc;

	if (!path || o->local_dir)
		return 0;
	rc = opts_read_key_file(path, o->key_any, &text);
	colon = rc ? NULL : strchr(text, ':');
	if (rc || !colon)
		rc = opts_key_file_fail("proxy_auth_file", path, rc ? rc : -EINVAL,
					"USER:PASSWORD, without blanks,");
	else
		rc = set_login(&o->network.http, text, (size_t)(colon - text), colon + 1) ||
				     set_login(&o->network.https, text, (size_t)(colon - text),
					       colon + 1)
			     ? -ENOMEM
			     : 0;
	opts_wipe(text);
	return rc;
}

/* The key of our own certificate is as secret as the API key. */
static int check_client_cert(const struct opts *o)
{
	const char *cert = o->network.client_cert, *key = o->network.client_key;
	struct stat st;
	FILE *f;
	bool good;

	if (key && !cert)
		return opts_fail("client_key needs client_cert; name the certificate, too");
	if (!cert)
		return 0;
	f = fopen(cert, "re");
	if (!f)
		return opts_fail("client_cert %s: %s; name a file with a certificate (PEM)", cert,
				 strerror(errno));
	good = holds_certificate(f);
	fclose(f);
	if (!good)
		return opts_fail("client_cert %s holds no certificate; name a file with one (PEM)",
				 cert);
	key = key ? key : cert;
	if (stat(key, &st))
		return opts_fail("client_key %s: %s; name a file with the key (PEM)", key,
				 strerror(errno));
	if (st.st_mode & (o->key_any ? 022 : 077))
		return opts_fail("others can read or write the client_key %s; run chmod 600 %s",
				 key, key);
	return 0;
}

int opts_network_files(const struct opts_draft *d)
{
	int rc = opts_say_origin(d->origins, "ca_file", check_ca_file(d->o));

	if (!rc)
		rc = opts_say_origin(d->origins, "client_cert", check_client_cert(d->o));

	return rc ? rc : opts_say_origin(d->origins, "proxy_auth_file", take_login(d->o));
}
