/* The service: SOURCE, or the environment instead. */
#include "fs/config/source.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fs/config/draft.h"
#include "fs/config/say.h"
#include "fs/config/value.h"
#include "net/api/api.h"
#include "net/http/url.h"

#define DEFAULT_URL "https://api.openai.com/v1"
#define LOCAL_PREFIX "local:"
#define AZURE_PREFIX "azure:"
#define FSTAB_WORD "uploadfs"

/* The form of a URL, for messages. */
#define FORM "https://HOST/v1"
#define AZURE_FORM AZURE_PREFIX "https://NAME.openai.azure.com"

/* Check a base URL and copy it without trailing slashes. */
static int take_url(struct opts *o, const char *url, const char *what, const char *form)
{
	const char *why;
	size_t len = strlen(url);

	if (url_check_base(url, &why)) {
		/* Do not print a URL with a user, password or query: it may hold a secret. */
		if (strpbrk(url, "@?#"))
			return opts_fail("%s is refused: %s; use %s and give the key by the "
					 "environment or -o api_key_file",
					 what, why, form);
		return opts_fail("%s %s is refused: %s; use %s", what, url, why, form);
	}
	while (len && url[len - 1] == '/')
		len--;
	o->base_url = strndup(url, len);
	if (!o->base_url)
		return -ENOMEM;
	if (!url_is_https(url) && !url_is_loopback(url) && !o->allow_http)
		return opts_fail("%s %s would send the key readable over the network; use https, "
				 "or -o allow_http if the network can be trusted",
				 what, o->base_url);
	return 0;
}

static bool is_http(const char *source)
{
	return !strncasecmp(source, "http://", 7) || !strncasecmp(source, "https://", 8);
}

/* Placeholders in fstab's first field. */
static bool is_default(const char *source)
{
	return !*source || !strcmp(source, "none") || !strcmp(source, FSTAB_WORD);
}

/* ---- Azure ---- */

/* Cut a trailing "/openai" or "/openai/v1": people paste either. */
static void trim_azure(char *endpoint)
{
	static const char *const ends[] = { "/v1", "/openai" };
	size_t i, len = strlen(endpoint), n;

	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		n = strlen(ends[i]);
		if (len > n && !strcmp(endpoint + len - n, ends[i]))
			endpoint[len -= n] = '\0';
	}
}

static int take_version(struct opts *o)
{
	const char *version = opts_env("OPENAI_API_VERSION");

	if (!o->api_version && version) {
		o->api_version = strdup(version);
		if (!o->api_version)
			return -ENOMEM;
	}
	if (o->api_version && !api_word_valid(o->api_version))
		return opts_fail("the API version %s is none; use a date as in "
				 "api_version=2024-10-21, or leave it out",
				 o->api_version);
	return 0;
}

/*
 * Azure has two forms of path: /openai with a dated version in the query, and
 * /openai/v1, whose version is a word ("preview") or not said at all.
 */
static int take_azure(struct opts *o, const char *endpoint, const char *what)
{
	bool dated;
	char *whole;
	int rc = take_version(o);

	if (!rc)
		rc = take_url(o, endpoint, what, AZURE_FORM);
	if (rc)
		return rc;
	trim_azure(o->base_url);
	dated = o->api_version && isdigit((unsigned char)*o->api_version);
	if (asprintf(&whole, "%s%s", o->base_url, dated ? "/openai" : "/openai/v1") < 0)
		return -ENOMEM;
	o->azure = o->base_url;
	o->base_url = whole;
	return 0;
}

/* ---- the choice ---- */

static int take_environment(struct opts_draft *d)
{
	struct opts *o = d->o;
	const char *url = opts_env("OPENAI_BASE_URL"), *azure = opts_env("AZURE_OPENAI_ENDPOINT");

	if (url)
		return take_url(o, url, "OPENAI_BASE_URL", FORM);
	if (!azure)
		return take_url(o, DEFAULT_URL, "SOURCE", FORM);
	/* Do not guess between two accounts: Files would land in the wrong one. */
	if (d->openai_key.key)
		return opts_fail("OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT are both set; say which "
				 "service is meant: " DEFAULT_URL " or azure:%s",
				 azure);
	return take_azure(o, azure, "AZURE_OPENAI_ENDPOINT");
}

static int take_local(struct opts *o, const char *dir)
{
	if (!*dir)
		return opts_fail("SOURCE local: names no directory; use local:DIR");
	o->local_dir = strdup(dir);
	return o->local_dir ? 0 : -ENOMEM;
}

/* A word where a URL should be: perhaps the key, which is not repeated then. */
static bool may_be_key(const char *text)
{
	size_t len = strlen(text), n = 0;

	while (isalnum((unsigned char)text[n]) || (text[n] && strchr("-_", text[n])))
		n++;
	return !strncmp(text, "sk-", 3) || (n == len && len >= 20);
}

static int take_source(struct opts_draft *d)
{
	struct opts *o = d->o;

	if (o->source && is_default(o->source)) {
		free(o->source);
		o->source = NULL;
	}
	if (!o->source)
		return take_environment(d);
	if (is_http(o->source))
		return take_url(o, o->source, "SOURCE", FORM);
	if (!strncmp(o->source, LOCAL_PREFIX, strlen(LOCAL_PREFIX)))
		return take_local(o, o->source + strlen(LOCAL_PREFIX));
	if (!strncmp(o->source, AZURE_PREFIX, strlen(AZURE_PREFIX)))
		return take_azure(o, o->source + strlen(AZURE_PREFIX), "SOURCE");
	if (may_be_key(o->source))
		return opts_fail(
			"SOURCE looks like a key, which others can read there; give the key by "
			"the environment or -o api_key_file, and https://HOST/v1 as SOURCE");
	return opts_fail(
		"SOURCE %s is neither a URL, nor azure:URL, nor local:DIR; use https://HOST/v1, or "
		"local:DIR for a local server",
		o->source);
}

/*
 * mount -a knows a line of fstab for mounted by its first field, so that has to be the source of
 * the mount. A directory is made absolute first, and fstab has it so anyway.
 */
static int keep_word(struct opts *o)
{
	if (!o->source || o->fsname ||
	    (strcmp(o->source, FSTAB_WORD) && !is_http(o->source) &&
	     strncmp(o->source, AZURE_PREFIX, strlen(AZURE_PREFIX))))
		return 0;
	o->fsname = strdup(o->source);
	return o->fsname ? 0 : -ENOMEM;
}

int opts_resolve_source(struct opts_draft *d)
{
	int rc = keep_word(d->o);

	if (!rc)
		rc = take_source(d);
	if (!rc && d->o->api_version && !d->o->azure)
		return opts_fail(
			"api_version is for Azure; use azure:https://NAME.openai.azure.com "
			"as SOURCE, or leave it out");
	return rc;
}
