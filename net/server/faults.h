/*
 * faults: rules that make the server misbehave, for tests. docs/fault-rules.md describes the file.
 * It is read again at each request. A missing file has no rules; a file that can't be parsed is
 * logged and leaves the former rules in force. Counters restart when the content changes. Any
 * thread; blocks on the disk.
 */
#ifndef UPLOADFS_NET_SERVER_FAULTS_H
#define UPLOADFS_NET_SERVER_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/server/route.h"

enum fault_action {
	FAULT_STATUS,
	FAULT_RESET,
	FAULT_STALL,
	FAULT_DROP,
	FAULT_TRUNCATE,
	FAULT_INVALID_JSON,
	FAULT_WRONG_ID,
	FAULT_WRONG_BYTES,
	FAULT_WRONG_STATUS,
	FAULT_LEAVE_OUT,
	FAULT_DELAY,
	FAULT_NO_RANGE,
	FAULT_ACTIONS
};

enum fault_when { FAULT_BEFORE, FAULT_DURING, FAULT_AFTER };

#define FAULT_HALF UINT64_MAX /* after_bytes: half of the body */

struct fault_header {
	char *name, *value;
};

struct fault {
	enum fault_action action;
	const char *name; /* name of the action, for the journal; static */
	enum fault_when when;
	int status;		      /* FAULT_STATUS */
	struct fault_header *headers; /* added to the reply */
	size_t header_count;
	char *body;		     /* FAULT_STATUS: replaces the error object; or NULL */
	char *code, *message, *type; /* of the error object; or NULL */
	uint64_t after_bytes;
	uint64_t ms;  /* FAULT_STALL (UINT64_MAX: for ever), FAULT_DELAY */
	char *value;  /* FAULT_WRONG_ID, _STATUS; or NULL */
	char **names; /* FAULT_LEAVE_OUT: members of the reply, ends with NULL; or NULL */
	bool has_bytes;
	uint64_t bytes; /* FAULT_WRONG_BYTES */
};

struct faults;

/*
 * Read and pick rules. The server calls these only through server_opts.fault_hook, so that a
 * program that leaves it NULL does not link faults.c.
 */
struct fault_hook {
	/* Open the rules. path is copied. 0, -EINVAL (the file is invalid), or -ENOMEM. */
	int (*open)(const char *path, struct faults **ret);
	void (*close)(struct faults *f);
	/*
	 * Count the request with each matching rule. Return a copy of the first rule whose turn it
	 * is, for free(), or NULL. filename may be NULL.
	 */
	struct fault *(*pick)(struct faults *f, enum op op, const char *path, const char *filename);
	void (*free)(struct fault *fault);
};

/* The rules of docs/fault-rules.md; defined in faults.c. */
extern const struct fault_hook fault_rules;

#endif
