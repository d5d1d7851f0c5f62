/*
 * tenant: files kept for one service, organization and project are not sent to another.
 */
#ifndef UPLOADFS_FS_DAEMON_TENANT_H
#define UPLOADFS_FS_DAEMON_TENANT_H

#include <stdbool.h>

struct statedb;

/* What a state directory is mounted with. */
struct daemon_tenant {
	const char *dir;
	const char *service, *account; /* account: organization and project, in words */
	bool adopt;		       /* -o adopt: the kept files go here */
};

/*
 * Compare with the store and set it there. Call it after staging_open(), before anything is sent.
 * -EPERM after a log line if files are kept for another one. Blocks on the disk.
 */
int daemon_check_tenant(struct statedb *db, const struct daemon_tenant *t);

#endif
