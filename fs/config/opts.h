/*
 * opts: the configuration of a mount, from the command line and the environment.
 *
 * Start-up only, one thread. All strings are owned by struct opts.
 */
#ifndef UPLOADFS_FS_CONFIG_OPTS_H
#define UPLOADFS_FS_CONFIG_OPTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/base/endpoint.h"
#include "net/http/network.h"

struct opts {
	char *source;	   /* base URL, or NULL for OPENAI_BASE_URL, else the service's own */
	char *local_dir;   /* of local:DIR, absolute; NULL: none */
	char *azure;	   /* of azure:ENDPOINT: "https://NAME.openai.azure.com"; NULL: none */
	char *api_version; /* of Azure; NULL: none */
	char *mountpoint;  /* absolute, without links; may be a mount whose daemon is dead */
	char *base_url;	   /* resolved; NULL with local_dir */
	char *key;	   /* NULL: none. Never printed */
	char *key_file;	   /* absolute, its links not resolved; or NULL */
	bool key_any;	   /* key_mode=any: others may read the key file */
	char *organization, *project; /* or NULL */
	char *purpose;		      /* NULL: all */
	char *config;		      /* config=FILE, as given; NULL: the default files */
	char *state_dir;	      /* absolute; default: resolve.c */
	char *state_dir_not;	      /* the default that can't hold it; NULL: it can */
	uint64_t part_size;	      /* bytes; 64 KiB .. 64 MiB, default 64 MiB */
	unsigned parallel;	      /* 1..64, default 4 */
	char *shared_cache;	      /* absolute, its links not resolved; or NULL */
	uint64_t cache_size;	      /* bytes, default 8 GiB; 0: no cache */
	uint64_t staging_size;	      /* bytes; 0: no limit but the disk */
	uint64_t staging_reserve;     /* bytes left free on its disk, default 256 MiB */
	bool close_async;	      /* close=async; default close=sync */
	bool sync_always;	      /* sync=always; default sync=auto */
	bool keep_old, no_delete;
	bool resend;		  /* content that the replaced File has already is sent, too */
	bool check_jsonl;	  /* check=jsonl; default check=none */
	unsigned expires_after_s; /* 3600..2592000; 0: none */
	bool adopt; /* kept files of another service, organization or project are sent */
	bool allow_http;
	unsigned list_ttl_s;	    /* default 30 */
	unsigned hold_timeout_s;    /* default 60 */
	unsigned retry_timeout_s;   /* default 120 */
	unsigned connect_timeout_s; /* default 10 */
	unsigned idle_timeout_s;    /* default 60 */
	/* default 30: before the first background retry, then doubled */
	unsigned retry_delay_s;
	unsigned drain_timeout_s; /* default 60: at the end, for unfinished publications */
	bool foreground;	  /* -f, -d */
	bool debug;		  /* -d */
	int log_level;		  /* enum log_level */
	char *log_file;		  /* absolute, or NULL */
	char *metrics_text;	  /* metrics_listen= as given; NULL: none */
	struct endpoint metrics_at;
	bool log_json; /* log_format=json */
	bool ro, allow_other, allow_root;
	bool has_uid, has_gid, has_umask;
	uid_t uid;
	gid_t gid;
	mode_t umask, file_mode, dir_mode; /* file_mode default 0644, dir_mode 0755, before umask */
	char *fsname;			   /* the source shown by df and mount(8) */
	char *fuse_opts; /* options for libfuse's mount: "fsname=…,subtype=uploadfs,…" */

	struct network network; /* resolved: options and environment */
	/* proxy=: "none" or a URL without a login; NULL: use the environment. */
	char *proxy;
	char *proxy_auth_file; /* absolute, or NULL */
	/* The option or variable that sets the proxy of base_url; static. NULL: no proxy. */
	const char *proxy_from;
	bool ca_from_env; /* network.ca_file is SSL_CERT_FILE's */
};

enum opts_result {
	OPTS_RUN,	/* mount */
	OPTS_EXIT_OK,	/* --help, --version: printed to stdout */
	OPTS_EXIT_USAGE /* an error was printed to stderr, naming what to do */
};

/*
 * Parse argv, the configuration files, the environment and the key file. On OPTS_RUN the caller
 * releases ret.
 */
enum opts_result opts_parse(int argc, char **argv, struct opts *ret);
/* The same; sloppy skips unknown options, as mount -s requires. */
enum opts_result opts_parse_mount(int argc, char **argv, bool sloppy, struct opts *ret);
/*
 * The same for commands that don't mount: MOUNTPOINT is optional. A single word is SOURCE if it
 * looks like one. state_dir overrides the options unless it is NULL; without either and without
 * MOUNTPOINT, ret->state_dir is the directory of all state directories.
 */
enum opts_result opts_parse_loose(int argc, char **argv, const char *state_dir, struct opts *ret);
/*
 * The same for the doctor: messages go to *ret_said (NULL: none; the caller frees it) instead of
 * stderr, and a missing or unusable key is no error: ret->key is NULL.
 */
enum opts_result opts_parse_doctor(int argc, char **argv, char **ret_said, struct opts *ret);
/* The errors in one argument of -o: a new string, or NULL if there are none. */
char *opts_check(const char *words);
void opts_release(struct opts *o); /* wipes the key */

struct api_config;
/* Fill ret with the settings for api_new(). It borrows the strings and the network of o. */
void opts_api_config(const struct opts *o, struct api_config *ret);

#endif
