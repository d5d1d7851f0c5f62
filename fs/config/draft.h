/* draft: a mount's configuration while the files of this folder gather it. */
#ifndef UPLOADFS_FS_CONFIG_DRAFT_H
#define UPLOADFS_FS_CONFIG_DRAFT_H

#include <stdbool.h>

#include "fs/config/opts.h"
#include "fs/config/say.h"
#include "net/base/buf.h"

/* A key from the environment, and the result of opts_take_env_key(). */
struct opts_env_key {
	char *key;
	int rc;
};

struct opts_draft {
	struct opts *o;
	struct buf mount; /* ",nosuid,max_read=4096": libfuse's words in their order */
	bool sloppy;	  /* skip unknown options */
	bool keyless;	  /* report a missing or unusable key and go on without one */
	struct opts_env_key openai_key, azure_key;
	const char *where; /* "FILE, line 3" while a file is read, else NULL */
	struct opts_origin origins[OPTS_ORIGINS_MAX];
};

#endif
