/* The table of options behind -o, one line each. */
#include "fs/config/words.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fs/config/draft.h"
#include "fs/config/network.h"
#include "fs/config/say.h"
#include "fs/config/value.h"
#include "fs/tree/names.h"
#include "net/api/api.h"
#include "net/base/log.h"
#include "net/base/near.h"

#define KIB (1ULL << 10)
#define GIB (1ULL << 30)

enum word_kind {
	W_FLAG,	  /* bool */
	W_CLEAR,  /* bool, set to false */
	W_SIZE,	  /* uint64_t, bytes, with K, M, G */
	W_NUMBER, /* unsigned */
	W_OCTAL,  /* mode_t */
	W_TEXT,	  /* char * */
	W_SPECIAL /* by a function */
};

struct word {
	const char *name;
	enum word_kind kind;
	size_t at; /* offset in struct opts */
	uint64_t min, max;
	int (*set)(struct opts_draft *d, const char *value);
	const char *form; /* of the value, for messages; NULL: takes none */
};

static int set_close(struct opts_draft *d, const char *value)
{
	d->o->close_async = !strcmp(value, "async");
	if (d->o->close_async || !strcmp(value, "sync"))
		return 0;
	return opts_fail("close=%s is not known; use close=sync or close=async", value);
}

static int set_sync(struct opts_draft *d, const char *value)
{
	d->o->sync_always = !strcmp(value, "always");
	if (d->o->sync_always || !strcmp(value, "auto"))
		return 0;
	return opts_fail("sync=%s is not known; use sync=auto or sync=always", value);
}

static int set_check(struct opts_draft *d, const char *value)
{
	d->o->check_jsonl = !strcmp(value, "jsonl");
	if (d->o->check_jsonl || !strcmp(value, "none"))
		return 0;
	return opts_fail("check=%s is not known; use check=none or check=jsonl", value);
}

static int set_purpose(struct opts_draft *d, const char *value)
{
	char *copy;

	if (!names_purpose_writable(value))
		return opts_fail("purpose=%s is not one that takes files; use assistants, batch, "
				 "evals, fine-tune, user_data or vision",
				 value);
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(d->o->purpose);
	d->o->purpose = copy;
	return 0;
}

static int set_log_level(struct opts_draft *d, const char *value)
{
	static const char *const names[] = { [LOG_LVL_ERROR] = "error",
					     [LOG_LVL_WARN] = "warn",
					     [LOG_LVL_INFO] = "info",
					     [LOG_LVL_DEBUG] = "debug" };
	int i;

	for (i = LOG_LVL_ERROR; i <= LOG_LVL_DEBUG; i++) {
		if (!strcmp(value, names[i])) {
			d->o->log_level = i;
			return 0;
		}
	}
	return opts_fail("log_level=%s is not known; use error, warn, info or debug", value);
}

static int set_key_mode(struct opts_draft *d, const char *value)
{
	d->o->key_any = !strcmp(value, "any");
	if (d->o->key_any || !strcmp(value, "private"))
		return 0;
	return opts_fail("key_mode=%s is not known; use private or any", value);
}

static int set_log_format(struct opts_draft *d, const char *value)
{
	d->o->log_json = !strcmp(value, "json");
	if (d->o->log_json || !strcmp(value, "text"))
		return 0;
	return opts_fail("log_format=%s is not known; use text or json", value);
}

static int set_metrics_listen(struct opts_draft *d, const char *value)
{
	char *copy;

	if (endpoint_parse(value, &d->o->metrics_at))
		return opts_fail("metrics_listen=%s is no address; use ADDR:PORT, [ADDR]:PORT, "
				 "PORT, or the path of a socket",
				 value);
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(d->o->metrics_text);
	d->o->metrics_text = copy;
	return 0;
}

static int refuse_remount(struct opts_draft *d, const char *value)
{
	(void)d;
	(void)value;
	return opts_fail("a mount of uploadfs can't be changed by remount; unmount it, then mount "
			 "it with the new options");
}

static int refuse_key(struct opts_draft *d, const char *value)
{
	(void)value; /* a key is never printed */
	if (d->where)
		return opts_fail("a key does not belong into an option file; put it into a file of "
				 "its own, which only you can read, and name that: "
				 "api_key_file=FILE");
	return opts_fail("a key on the command line can be read by everybody; put it into a file "
			 "only you can read and use -o api_key_file=FILE, or set OPENAI_API_KEY");
}

/* uid_t and gid_t end one below -1, which means "none" to the kernel. */
#define ID_MAX (UINT32_MAX - 1)

static int parse_id(const char *name, const char *value, unsigned *ret)
{
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(value, &end, 10);
	if (!isdigit((unsigned char)*value) || *end || errno || n > ID_MAX)
		return opts_fail("%s=%s is not an id; use a number, as in %s=1000", name, value,
				 name);
	*ret = (unsigned)n;
	return 0;
}

static int set_uid(struct opts_draft *d, const char *value)
{
	d->o->has_uid = true;
	return parse_id("uid", value, &d->o->uid);
}

static int set_gid(struct opts_draft *d, const char *value)
{
	d->o->has_gid = true;
	return parse_id("gid", value, &d->o->gid);
}

#define FIELD(f) offsetof(struct opts, f)
#define SECONDS(name, min)                                                    \
	{                                                                     \
#name, W_NUMBER, FIELD(name##_s), min, 86400, NULL, "SECONDS" \
	}

static const struct word words[] = {
	{ "adopt", W_FLAG, FIELD(adopt), 0, 0, NULL, NULL },
	{ "allow_http", W_FLAG, FIELD(allow_http), 0, 0, NULL, NULL },
	{ "allow_other", W_FLAG, FIELD(allow_other), 0, 0, NULL, NULL },
	{ "allow_root", W_FLAG, FIELD(allow_root), 0, 0, NULL, NULL },
	{ "api_key", W_SPECIAL, 0, 0, 0, refuse_key, "" },
	{ "api_key_file", W_TEXT, FIELD(key_file), 0, 0, NULL, "FILE" },
	{ "api_version", W_TEXT, FIELD(api_version), 0, 0, NULL, "VERSION" },
	{ "bind", W_SPECIAL, 0, 0, 0, opts_set_bind, "ADDRESS|INTERFACE" },
	{ "ca_file", W_TEXT, FIELD(network.ca_file), 0, 0, NULL, "FILE" },
	{ "cache_size", W_SIZE, FIELD(cache_size), 0, INT64_MAX, NULL, "SIZE" },
	{ "check", W_SPECIAL, 0, 0, 0, set_check, "none|jsonl" },
	{ "client_cert", W_TEXT, FIELD(network.client_cert), 0, 0, NULL, "FILE" },
	{ "client_key", W_TEXT, FIELD(network.client_key), 0, 0, NULL, "FILE" },
	{ "close", W_SPECIAL, 0, 0, 0, set_close, "sync|async" },
	{ "config", W_TEXT, FIELD(config), 0, 0, NULL, "FILE" },
	SECONDS(connect_timeout, 1),
	{ "dir_mode", W_OCTAL, FIELD(dir_mode), 0, 0777, NULL, "MODE" },
	SECONDS(drain_timeout, 0),
	{ "expires_after", W_NUMBER, FIELD(expires_after_s), API_EXPIRY_MIN_S, API_EXPIRY_MAX_S,
	  NULL, "SECONDS" },
	{ "file_mode", W_OCTAL, FIELD(file_mode), 0, 0777, NULL, "MODE" },
	{ "fsname", W_TEXT, FIELD(fsname), 0, 0, NULL, "NAME" },
	{ "gid", W_SPECIAL, 0, 0, 0, set_gid, "ID" },
	SECONDS(hold_timeout, 0),
	SECONDS(idle_timeout, 1),
	{ "keep_old", W_FLAG, FIELD(keep_old), 0, 0, NULL, NULL },
	{ "key_mode", W_SPECIAL, 0, 0, 0, set_key_mode, "private|any" },
	SECONDS(list_ttl, 0),
	{ "log_file", W_TEXT, FIELD(log_file), 0, 0, NULL, "FILE" },
	{ "log_format", W_SPECIAL, 0, 0, 0, set_log_format, "text|json" },
	{ "log_level", W_SPECIAL, 0, 0, 0, set_log_level, "error|warn|info|debug" },
	{ "metrics_listen", W_SPECIAL, 0, 0, 0, set_metrics_listen, "ADDR:PORT|/SOCKET" },
	{ "no_delete", W_FLAG, FIELD(no_delete), 0, 0, NULL, NULL },
	{ "organization", W_TEXT, FIELD(organization), 0, 0, NULL, "ID" },
	{ "parallel", W_NUMBER, FIELD(parallel), 1, 64, NULL, "NUMBER" },
	{ "part_size", W_SIZE, FIELD(part_size), 64 * KIB, API_PART_MAX, NULL, "SIZE" },
	{ "project", W_TEXT, FIELD(project), 0, 0, NULL, "ID" },
	{ "proxy", W_SPECIAL, 0, 0, 0, opts_set_proxy, "URL|none" },
	{ "proxy_auth_file", W_TEXT, FIELD(proxy_auth_file), 0, 0, NULL, "FILE" },
	{ "purpose", W_SPECIAL, 0, 0, 0, set_purpose, "PURPOSE" },
	{ "remount", W_SPECIAL, 0, 0, 0, refuse_remount, NULL },
	{ "resend", W_FLAG, FIELD(resend), 0, 0, NULL, NULL },
	SECONDS(retry_delay, 1),
	SECONDS(retry_timeout, 1),
	{ "rate_limit", W_SPECIAL, 0, 0, 0, opts_set_rate_limit, "UP[:DOWN]" },
	{ "ro", W_FLAG, FIELD(ro), 0, 0, NULL, NULL },
	{ "rw", W_CLEAR, FIELD(ro), 0, 0, NULL, NULL },
	{ "shared_cache", W_TEXT, FIELD(shared_cache), 0, 0, NULL, "DIR" },
	{ "staging_reserve", W_SIZE, FIELD(staging_reserve), 0, INT64_MAX, NULL, "SIZE" },
	{ "staging_size", W_SIZE, FIELD(staging_size), 0, INT64_MAX, NULL, "SIZE" },
	{ "state_dir", W_TEXT, FIELD(state_dir), 0, 0, NULL, "DIR" },
	{ "sync", W_SPECIAL, 0, 0, 0, set_sync, "auto|always" },
	{ "uid", W_SPECIAL, 0, 0, 0, set_uid, "ID" },
	{ "umask", W_OCTAL, FIELD(umask), 0, 0777, NULL, "MODE" },
};

/* Mount options that libfuse takes; "=" at the end: with a value. */
static const char *const mount_words[] = {
	"async",    "auto_unmount", "dev",	   "dirsync",	   "exec", "max_read=",
	"noatime",  "nodev",	    "noexec",	   "nosuid",	   "suid", "sync",
	"context=", "fscontext=",   "defcontext=", "rootcontext=", NULL
};

/*
 * Words of fstab and mount(8) that every file system has, and what is always on: taken and
 * dropped. No access times are kept here, and no locks are mandatory.
 */
static const char *const dropped_words[] = {
	"_netdev",  "atime",	  "auto",	   "comment=",	  "default_permissions",
	"defaults", "diratime",	  "group",	   "iversion",	  "lazytime",
	"loud",	    "mand",	  "noauto",	   "nodiratime",  "nofail",
	"nogroup",  "noiversion", "nolazytime",	   "nomand",	  "nonempty",
	"noowner",  "norelatime", "nostrictatime", "nosymfollow", "nouser",
	"nousers",  "owner",	  "relatime",	   "silent",	  "strictatime",
	"subtype=", "symfollow",  "user",	   "user=",	  "users",
	NULL
};

static bool is_listed(const char *const *list, const char *word)
{
	size_t len = strcspn(word, "=");
	size_t i;

	if (word[len])
		len++;
	for (i = 0; list[i]; i++) {
		if (strlen(list[i]) == len && !strncmp(list[i], word, len))
			return true;
	}
	return false;
}

/* Words of other file systems that no typing error leads to ours from. */
static const struct {
	const char *word, *ours;
} foreign_words[] = {
	{ "readonly", "ro" },
	{ "read_only", "ro" },
	{ "passwd_file", "api_key_file" },
	{ "key_file", "api_key_file" },
};

/* name: without its value, which may be a secret */
static const char *nearest_option(const char *name)
{
	unsigned best = NEAR_FAR, d;
	const char *near = NULL;
	size_t i;

	for (i = 0; i < sizeof(foreign_words) / sizeof(foreign_words[0]); i++) {
		if (!strcmp(name, foreign_words[i].word))
			return foreign_words[i].ours;
	}
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		d = words[i].set == refuse_key ? NEAR_FAR : near_distance(name, words[i].name);
		if (d < best) {
			best = d;
			near = words[i].name;
		}
	}
	return near;
}

static int unknown_word(const char *word)
{
	size_t len = strcspn(word, "=");
	char name[NEAR_MAX];
	const char *near;

	if (len >= sizeof(name))
		len = sizeof(name) - 1;
	memcpy(name, word, len);
	name[len] = '\0';
	near = nearest_option(name);
	if (near)
		return opts_fail("option \"%s\" is not known; did you mean \"%s\"?", name, near);
	return opts_fail("option \"%s\" is not known; see uploadfs --help", name);
}

static int out_of_range(const struct word *w, const char *value)
{
	if (w->kind == W_OCTAL)
		return opts_fail("%s=%s is out of range; use 0 to 777", w->name, value);
	if (w->at == FIELD(part_size))
		return opts_fail("part_size=%s is out of range; use 64K to 64M", value);
	return opts_fail("%s=%s is out of range; use %llu to %llu", w->name, value,
			 (unsigned long long)w->min, (unsigned long long)w->max);
}

static int set_number(struct opts *o, const struct word *w, const char *value)
{
	void *field = (char *)o + w->at;
	uint64_t n = 0;
	enum opts_form form = w->kind == W_SIZE	   ? OPTS_SIZE
			      : w->kind == W_OCTAL ? OPTS_OCTAL
						   : OPTS_DECIMAL;
	int rc = opts_number(form, w->name, value, w->min ? (unsigned)w->min : 30, &n);

	if (rc)
		return rc;
	if (n < w->min || n > w->max)
		return out_of_range(w, value);
	if (w->kind == W_SIZE)
		*(uint64_t *)field = n;
	else if (w->kind == W_NUMBER)
		*(unsigned *)field = (unsigned)n;
	else
		*(mode_t *)field = (mode_t)n;
	if (w->at == FIELD(umask))
		o->has_umask = true;
	return 0;
}

static int set_text(struct opts *o, const struct word *w, const char *value)
{
	char **field = (char **)((char *)o + w->at), *copy;

	if (!*value)
		return opts_fail("%s is empty; use %s=%s", w->name, w->name, w->form);
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

_Static_assert(sizeof(words) / sizeof(words[0]) < OPTS_ORIGINS_MAX, "OPTS_ORIGINS_MAX");

static int set_word(struct opts_draft *d, const struct word *w, const char *value)
{
	bool *flag = (bool *)((char *)d->o + w->at);

	if (!value && w->form && *w->form)
		return opts_fail("%s needs a value; use %s=%s", w->name, w->name, w->form);
	if (value && !w->form)
		return opts_fail("%s takes no value; use just %s", w->name, w->name);
	switch (w->kind) {
	case W_FLAG:
	case W_CLEAR:
		*flag = w->kind == W_FLAG;
		return 0;
	case W_TEXT:
		return set_text(d->o, w, value);
	case W_SPECIAL:
		return w->set(d, value);
	default:
		return set_number(d->o, w, value);
	}
}

int opts_word(struct opts_draft *d, const char *text)
{
	size_t len = strcspn(text, "="), i;
	int rc;

	if (!*text)
		return 0; /* "-o ,ro": as mount(8) takes it */
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		/* "sync" without a value is a mount option. */
		if (!text[len] && is_listed(mount_words, text))
			break;
		if (strlen(words[i].name) == len && !strncmp(words[i].name, text, len)) {
			rc = set_word(d, &words[i], text[len] ? text + len + 1 : NULL);
			return rc ? rc : opts_note_origin(d->origins, words[i].name, d->where);
		}
	}
	if (!strncasecmp(text, "x-", 2) || is_listed(dropped_words, text))
		return 0;
	if (!is_listed(mount_words, text))
		return d->sloppy ? 0 : unknown_word(text);
	buf_addc(&d->mount, ',');
	opts_escape(&d->mount, text);
	return d->mount.err;
}

int opts_words(struct opts_draft *d, const char *text)
{
	struct buf word;
	int rc = 0;

	buf_init(&word, strlen(text));
	while (!rc) {
		buf_reset(&word);
		for (; *text && *text != ','; text++) {
			if (*text == '\\' && text[1])
				text++;
			buf_addc(&word, *text);
		}
		rc = word.err ? word.err : opts_word(d, buf_str(&word));
		if (!*text)
			break;
		text++;
	}
	if (word.data)
		explicit_bzero(word.data, word.size); /* the word may hold a key */
	buf_release(&word);
	return rc;
}
