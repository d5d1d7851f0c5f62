/*
 * errmap: struct api_error -> errno, in one switch, and what to tell the user.
 * Pure functions, any thread.
 */
#ifndef UPLOADFS_FS_REMOTE_ERRMAP_H
#define UPLOADFS_FS_REMOTE_ERRMAP_H

#include <stddef.h>

struct api_error;

/* ERRMAP_PART: a Part of what is written; ERRMAP_WRITE: any other request for it */
enum errmap_call { ERRMAP_WRITE, ERRMAP_PART, ERRMAP_READ, ERRMAP_LIST, ERRMAP_DELETE };

/* 0 for API_OK, else a negative errno by the table in docs/semantics.md. Never -EAGAIN. */
int errmap(const struct api_error *err, enum errmap_call call);

/*
 * Writes what happened and what to do: "HTTP 429 rate_limit_exceeded: …; try again later, or send
 * fewer Parts at once with -o parallel". One line, at most size - 1 bytes.
 */
void errmap_text(const struct api_error *err, enum errmap_call call, char *buf, size_t size);

#endif
