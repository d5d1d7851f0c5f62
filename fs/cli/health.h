/* health: the service's health, from a status document. One thread. */
#ifndef UPLOADFS_FS_CLI_HEALTH_H
#define UPLOADFS_FS_CLI_HEALTH_H

#include <stdbool.h>

struct buf;
struct json;

bool cli_is_failing(const struct json *doc);
/* "the service fails for 3 min: HTTP 401 …", without a line end; nothing unless it fails. */
void cli_health(const struct json *doc, struct buf *out);
/* For status --check: print the health as a line. Returns CLI_FAILED if the service fails. */
int cli_check(const struct json *doc);

#endif
