/*
 * errmap: struct api_error -> errno, in one switch, and what to tell the user.
 * Pure functions, any thread.
 */
#ifndef UPLOADFS_FS_ERRMAP_H
#define UPLOADFS_FS_ERRMAP_H

#include <stddef.h>

struct api_error;

enum errmap_call { ERRMAP_WRITE, ERRMAP_READ, ERRMAP_LIST, ERRMAP_DELETE };

/* 0 for API_OK, else a negative errno by the table in docs/semantics.md. Never -EAGAIN. */
int errmap(const struct api_error *err, enum errmap_call call);

/*
 * What happened and what to do: "HTTP 401 invalid_api_key: …; check the key:
 * OPENAI_API_KEY or -o api_key_file". One line, at most size - 1 bytes.
 */
void errmap_text(const struct api_error *err, enum errmap_call call, char *buf, size_t size);

#endif
