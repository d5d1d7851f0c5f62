/*
 * form: application/x-www-form-urlencoded. Pure, any thread.
 */
#ifndef UPLOADFS_NET_SERVER_FORM_H
#define UPLOADFS_NET_SERVER_FORM_H

#include <stddef.h>

/*
 * Call cb for each pair in order; name and value are decoded and live until cb returns. 0, -EINVAL
 * (a bad escape, or an escaped NUL), -ENOMEM, or the first non-zero return of cb.
 */
typedef int form_cb(void *arg, const char *name, char *value);
int form_each(const char *text, size_t len, form_cb *cb, void *arg);

#endif
