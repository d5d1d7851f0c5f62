/*
 * tenant: files kept for one service, organization, project and account are not sent to another.
 */
#ifndef UPLOADFS_FS_DAEMON_TENANT_H
#define UPLOADFS_FS_DAEMON_TENANT_H

#include <stdbool.h>

struct opts;
struct statedb;

/* What a state directory is mounted with. */
struct daemon_tenant {
	const char *dir;
	const char *service, *account; /* account: organization and project, in words */
	bool adopt;		       /* -o adopt: the kept files go here */
	const struct opts *opts;
	const char *key_print; /* one-way; "" without a key */
};

/*
 * Compare with the store and set it there. Call it after staging_open() and cache_open(), before
 * anything is sent. -EPERM after a log line if files are kept for another one. A changed key may be
 * a rotation or another account: while files are kept, a File that the account has must be there
 * for the new key, too; that asks the service. Blocks on the disk, and on the service then.
 */
int daemon_check_tenant(struct statedb *db, const struct daemon_tenant *t);

#endif
