/*
 * tenant: where the files of a store are published: service, organization, project.
 *
 * Threads: any. Take the lock of the store.
 */
#ifndef UPLOADFS_FS_STATE_TENANT_H
#define UPLOADFS_FS_STATE_TENANT_H

struct statedb;

/*
 * The texts that name it, as the last mount set them: new strings, or NULL where none did. Makes
 * the missing table. 0 or negative errno.
 */
int tenant_get(struct statedb *db, char **ret_service, char **ret_account);
/* Set both; it survives a power cut on return. Blocks on the disk. 0 or negative errno. */
int tenant_set(struct statedb *db, const char *service, const char *account);
/* Count the staged files that the service is to hear of; after files_define(). 0 or errno. */
int tenant_waiting(struct statedb *db, unsigned *ret);

#endif
