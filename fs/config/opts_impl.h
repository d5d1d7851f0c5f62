/*
 * opts_impl: what the files of the opts module share; nobody else includes it.
 *
 * opts.c takes the command line apart, opts_words.c knows the words of -o,
 * opts_config.c reads them from files,
 * opts_source.c which service is meant,
 * opts_resolve.c adds environment, paths and defaults, opts_key.c the key,
 * opts_network.c proxies and certificates.
 */
#ifndef UPLOADFS_FS_CONFIG_OPTS_IMPL_H
#define UPLOADFS_FS_CONFIG_OPTS_IMPL_H

#include "fs/config/opts.h"
#include "net/base/buf.h"

/*
 * Prints "uploadfs: MESSAGE" to stderr (with the doctor: says it to him), MESSAGE
 * made of printable characters and of the form "what is wrong; what to do".
 * Returns -EINVAL for the caller to return.
 */
int opts_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A key from the environment, and what opts_take_env_key() returned. */
struct opts_env_key {
	char *key;
	int rc;
};

#define OPTS_HOST_FILE "/etc/uploadfs.conf" /* options of every user's mounts */
#define OPTS_WORDS_MAX 64

/* What is gathered before it can be made into fuse_opts. */
struct opts_draft {
	struct opts *o;
	struct buf mount; /* ",nosuid,max_read=4096": words for libfuse, in their order */
	bool sloppy;	  /* what is not known is skipped */
	bool keyless;	  /* a key that can't be had is told, and no more */
	struct opts_env_key openai_key, azure_key;
	const char *where; /* "FILE, line 3" while a file is read, else NULL */
	/* For each word of the table where that was; NULL: the command line, or nowhere. Owned. */
	char *origins[OPTS_WORDS_MAX];
};

/* One argument of -o: words, commas between them, "\," for one in a value. 0 or negative errno. */
int opts_words(struct opts_draft *d, const char *text);
/* One word: "NAME" or "NAME=VALUE", in which commas and backslashes are nothing special. */
int opts_word(struct opts_draft *d, const char *text);
/* Where the value of that word is from: "FILE, line 3", or NULL: the command line, or nowhere. */
const char *opts_origin(const struct opts_draft *d, const char *name);
/* With -EINVAL, told already, says that as well. Returns rc. */
int opts_say_origin(const struct opts_draft *d, const char *name, int rc);
void opts_forget_origins(struct opts_draft *d);
/*
 * The words of the configuration files: of path (/dev/null: of none), or with NULL of those that
 * are there of OPTS_HOST_FILE and the user's own. 0 or negative errno.
 */
int opts_config(struct opts_draft *d, const char *path);
/* Appends text to b with "," and "\" escaped for a list of mount options. */
void opts_escape(struct buf *b, const char *text);

/*
 * Everything that isn't on the command line: base URL, key, absolute paths,
 * state directory, fuse_opts. mountpoint and source are as given. 0 or negative
 * errno after a message.
 */
int opts_resolve(struct opts_draft *d);
/* Of that, opts_source.c: which service; base_url or local_dir, azure, api_version. */
int opts_resolve_source(struct opts_draft *d);
const char *opts_env(const char *name); /* NULL when it is unset or empty */
/*
 * The value of a variable, or NULL when there is none, in memory the caller
 * wipes and frees. Overwritten in the environment in any case, so that
 * /proc/PID/environ doesn't show it. 0, -EINVAL (it can't be a key), -ENOMEM.
 */
int opts_take_env_key(const char *name, char **ret_key);
/* Overwrites and removes the variable, also where it stands twice. */
void opts_scrub_env(const char *name);
void opts_wipe(char *secret); /* overwrites and frees it; NULL is a no-op */
/*
 * Says what is wrong with a file of which opts_read_key_file() returned rc. what: "key file";
 * holds: "the key alone". -EINVAL.
 */
int opts_key_file_fail(const char *what, const char *path, int rc, const char *holds);

/* A number of bytes with K, M, G. 0, or -EINVAL after a message. */
int opts_size(const char *name, const char *value, uint64_t *ret);

/* ---- opts_network.c ---- */

/* proxy=, bind= and rate_limit=. 0 or negative errno after a message, which repeats no password. */
int opts_set_proxy(struct opts_draft *d, const char *value);
int opts_set_bind(struct opts_draft *d, const char *value);
int opts_set_rate_limit(struct opts_draft *d, const char *value);
/*
 * Proxies and the file of certificates from the environment, where no option has them; the
 * variables that hold a password are scrubbed. Behind base_url, before the paths are made absolute.
 */
int opts_network_env(struct opts *o);
/* Looks at ca_file, and reads proxy_auth_file. Behind that. */
int opts_network_files(const struct opts_draft *d);

#endif
