/*
 * key: the API key from a file or the environment, and its removal from there.
 */
#ifndef UPLOADFS_FS_CONFIG_KEY_H
#define UPLOADFS_FS_CONFIG_KEY_H

#include <stdbool.h>

/*
 * Read a key file: a regular file, owned by us or root, without access for group and others; any:
 * they may read it (key_mode=any). Follow links at each reading: a mounted secret changes by a
 * link. The key is the first line without surrounding white space, or the value of a shell's
 * assignment to OPENAI_API_KEY or AZURE_OPENAI_API_KEY in it. 0 and a string that the caller wipes
 * and frees (opts_wipe()); -EPERM (owner or mode), -EISDIR (not regular), -ENOENT, -EINVAL (empty,
 * or control bytes), other errno. Blocks on the disk. Any thread: also called on SIGHUP and after a
 * 401.
 */
int opts_read_key_file(const char *path, bool any, char **ret_key);
/*
 * Print why opts_read_key_file() returned rc. what: "key file"; holds: "the key alone". Returns
 * -EINVAL.
 */
int opts_key_file_fail(const char *what, const char *path, int rc, const char *holds);
/*
 * Take the value of a variable, NULL if it is unset or empty; the caller wipes and frees it. The
 * environment's copy is always overwritten, so that /proc/PID/environ does not show it. 0, -EINVAL
 * (it can't be a key), -ENOMEM. Start-up only.
 */
int opts_take_env_key(const char *name, char **ret_key);
/* Overwrite and remove the variable, all its occurrences. Start-up only. */
void opts_scrub_env(const char *name);

#endif
