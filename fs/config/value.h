/*
 * value: the values of options and variables: numbers, sizes, escapes, secrets.
 *
 * Start-up only, one thread.
 */
#ifndef UPLOADFS_FS_CONFIG_VALUE_H
#define UPLOADFS_FS_CONFIG_VALUE_H

#include <stdint.h>

struct buf;

/* How a number is written. */
enum opts_form {
	OPTS_DECIMAL,
	OPTS_OCTAL,
	OPTS_SIZE /* decimal, then K, M, G or T (KB, KiB) for binary units, or nothing */
};

/*
 * Parse value. name and example are for the message. 0, or -EINVAL after a message.
 */
int opts_number(enum opts_form form, const char *name, const char *value, unsigned example,
		uint64_t *ret);
const char *opts_env(const char *name); /* NULL when the variable is unset or empty */
/* Append text to b with "," and "\" escaped for a list of mount options. */
void opts_escape(struct buf *b, const char *text);
void opts_wipe(char *secret); /* overwrites and frees it; NULL is a no-op */

#endif
