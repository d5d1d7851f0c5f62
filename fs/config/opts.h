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

#include "net/http/network.h"

struct opts {
	char *source;	   /* base URL, or NULL for OPENAI_BASE_URL, else the service's own */
	char *local_dir;   /* of local:DIR, absolute; NULL: none */
	char *azure;	   /* of azure:ENDPOINT: "https://NAME.openai.azure.com"; NULL: none */
	char *api_version; /* of Azure; NULL: none */
	char *mountpoint;  /* absolute, without links; may be a mount whose daemon is dead */
	char *base_url;	   /* resolved; NULL with local_dir */
	char *key;	   /* NULL: none. Never printed */
	char *key_file;	   /* absolute, or NULL */
	char *organization, *project; /* or NULL */
	char *purpose;		      /* NULL: all */
	char *config;		      /* config=FILE, as given; NULL: the usual ones */
	char *state_dir;	      /* absolute; default see opts.c */
	uint64_t part_size;	      /* bytes; 64 KiB .. 64 MiB, default 64 MiB */
	unsigned parallel;	      /* 1..64, default 4 */
	uint64_t cache_size;	      /* bytes, default 8 GiB; 0: nothing is kept */
	uint64_t staging_size;	      /* bytes; 0: the disk decides */
	uint64_t staging_reserve;     /* bytes left free on its disk, default 256 MiB */
	bool close_async;	      /* close=async; default close=sync */
	bool keep_old;
	bool allow_http;
	unsigned list_ttl_s;	    /* default 30 */
	unsigned hold_timeout_s;    /* default 60 */
	unsigned retry_timeout_s;   /* default 120 */
	unsigned connect_timeout_s; /* default 10 */
	unsigned idle_timeout_s;    /* default 60 */
	/* default 30: before the first background retry; doubled each time */
	unsigned retry_delay_s;
	unsigned drain_timeout_s; /* default 60: at the end, for what is under way */
	bool foreground;	  /* -f, -d */
	bool debug;		  /* -d */
	int log_level;		  /* enum log_level */
	char *log_file;		  /* absolute, or NULL */
	bool log_json;		  /* log_format=json */
	bool ro, allow_other, allow_root;
	bool has_uid, has_gid, has_umask;
	uid_t uid;
	gid_t gid;
	mode_t umask, file_mode, dir_mode; /* file_mode default 0644, dir_mode 0755, before umask */
	char *fsname;			   /* what df and mount(8) show as the source */
	char *fuse_opts; /* what is handed to libfuse's mount: "fsname=…,subtype=uploadfs,…" */

	struct network network; /* resolved: options and environment */
	/* proxy=, which is "none" or a URL without a login; NULL: the environment's. */
	char *proxy;
	char *proxy_auth_file; /* absolute, or NULL */
	/* Which option or variable has the proxy for base_url; static. NULL: there is none. */
	const char *proxy_from;
	bool ca_from_env; /* network.ca_file is SSL_CERT_FILE's */
};

enum opts_result {
	OPTS_RUN,	/* mount */
	OPTS_EXIT_OK,	/* --help, --version: printed to stdout */
	OPTS_EXIT_USAGE /* an error was printed to stderr, naming what to do */
};

/* Parses; reads the environment and the key file. On OPTS_RUN the caller releases ret. */
enum opts_result opts_parse(int argc, char **argv, struct opts *ret);
/* The same; sloppy: options that are not known are skipped, as mount -s wants it. */
enum opts_result opts_parse_mount(int argc, char **argv, bool sloppy, struct opts *ret);
/*
 * The same for what does not mount: MOUNTPOINT may be left out. One word is SOURCE when it looks
 * like one. state_dir goes before what the options say, unless it is NULL; with neither, and
 * without MOUNTPOINT, it is the directory of all state directories.
 */
enum opts_result opts_parse_loose(int argc, char **argv, const char *state_dir, struct opts *ret);
/*
 * The same for the doctor: what is wrong goes to ret_said (NULL: nothing; owned) instead of stderr,
 * and a key that can't be had does not end it: there is none then.
 */
enum opts_result opts_parse_doctor(int argc, char **argv, char **ret_said, struct opts *ret);
/* What is wrong with the words of an -o: a new string, or NULL: nothing. */
char *opts_check(const char *words);
void opts_release(struct opts *o); /* wipes the key */

#endif
