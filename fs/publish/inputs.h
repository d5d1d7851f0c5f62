/*
 * inputs: what other threads want of a publication.
 *
 * Setters change struct publish.in under publisher.lock; the publisher thread works on a copy.
 * Functions here lock nothing: the caller owns the struct or holds the lock.
 */
#ifndef UPLOADFS_FS_PUBLISH_INPUTS_H
#define UPLOADFS_FS_PUBLISH_INPUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/api/api.h"

struct publish_inputs {
	uint64_t predicted, declared, expires_after;
	bool sealed, held, dropped, aborted, retry, reopen, changed, forced;
	char *purpose, *path, *hold_name, *mime; /* owned */
	char **superseded;
	size_t superseded_count;
	char likely[API_ID_MAX + 1]; /* a File that a rename is going to replace; "": none */
	unsigned choices;	     /* counts changes of both */
	uint64_t hold_deadline_ms;
	unsigned renames; /* how often publish_rename() was called */
	uint32_t mode, uid, gid;
	int abort_err; /* as given to publish_abort() */
	bool abort_write;
	bool check;	/* the lines have to be JSON objects */
	bool withdrawn; /* aborted by publish_withdraw() */
};

/* strdup(). NULL for NULL; without memory NULL and *failed is set. The caller frees it. */
char *publish_dup(const char *s, bool *failed);
/* Append a copy of file_id to in->superseded unless it is there. 0 or -ENOMEM. */
int publish_inputs_supersede(struct publish_inputs *in, const char *file_id);
bool publish_inputs_has(const struct publish_inputs *in, const char *file_id);
/* Take one file_id off the Files to delete. Under publisher.lock. */
void publish_inputs_spare(struct publish_inputs *in, const char *file_id);
/* Make *dst a copy of *src with strings of its own, freeing those of *dst. 0 or -ENOMEM. */
int publish_inputs_copy(struct publish_inputs *dst, const struct publish_inputs *src);
/* Free the strings of *in and zero it. */
void publish_inputs_release(struct publish_inputs *in);

#endif
