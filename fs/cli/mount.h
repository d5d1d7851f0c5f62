/* mount: find a mount and read the status document of its daemon. One thread. */
#ifndef UPLOADFS_FS_CLI_MOUNT_H
#define UPLOADFS_FS_CLI_MOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct json;

/*
 * Find the mount at path; NULL: the only mount of this user, or the only one at all. CLI_OK with
 * its path in *ret_path (the caller frees it) and its owner in *ret_uid; else an exit status after
 * a message.
 */
int cli_find_mount(const char *path, char **ret_path, uid_t *ret_uid);
/*
 * Read MOUNT/.uploadfs/status within timeout_s seconds, in a child process that can be killed when
 * the mount hangs. 0 with the document in *ret (json_free()) and its text appended to *ret_text
 * unless that is NULL; -ETIMEDOUT, -ENOTCONN (the daemon is dead), -EACCES, -EBADMSG or another
 * errno.
 */
int cli_read_status(const char *mount, unsigned timeout_s, struct json **ret, struct buf *ret_text);
/* Print why cli_read_status() failed and what to do. Returns CLI_NO_MOUNT. */
int cli_no_status(const char *mount, int err);
/*
 * Ask the daemon of the mount to end, within timeout_s seconds, as cli_read_status(). Returns
 * without waiting for the end. 0, -EPERM, -ETIMEDOUT, or another errno.
 */
int cli_ask_end(const char *mount, unsigned timeout_s);
/* Device number of the topmost mount at this path; 0: none, or it can't be told. */
dev_t cli_mount_dev(const char *mount);
/* True if the mount with this device number is not the topmost one at its path any more. */
bool cli_is_gone(const char *mount, dev_t dev);
/*
 * True if it is gone within two seconds. For a daemon that stopped answering: it closes its side a
 * moment before it unmounts.
 */
bool cli_gone_soon(const char *mount, dev_t dev);
/*
 * Unmount a dead daemon's mount, even if it is in use. 0, or a negative errno after a message.
 */
int cli_detach(const char *mount);

/* Numbers and texts of a document; a missing one is 0 or "". */
uint64_t cli_number(const struct json *obj, const char *key);
const char *cli_text(const struct json *obj, const char *key);
uint64_t cli_total(const struct json *doc, const char *key); /* of its "totals" */

#endif
