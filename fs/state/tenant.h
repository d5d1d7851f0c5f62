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

struct tenant_key {
	char *print; /* one-way, of the key that the store was last used with; "" for none */
	char *from;  /* the file it came from; "" for the environment */
};

/* What tenant_set_key() stored, as new strings; "" where nothing is. 0 or negative errno. */
int tenant_get_key(struct statedb *db, struct tenant_key *ret);
void tenant_release_key(struct tenant_key *k);
/* Survives a power cut on return. Blocks on the disk. 0 or negative errno. */
int tenant_set_key(struct statedb *db, const char *print, const char *from);
/*
 * Ids of at most max Files that the former account has or had, as new strings in ret: those that
 * waiting files replace, those published or read here. 0 or negative errno.
 */
int tenant_witnesses(struct statedb *db, unsigned max, char **ret, unsigned *ret_count);
/* Count the waiting files that were never refused for their key (401, 403). 0 or errno. */
int tenant_unrefused(struct statedb *db, unsigned *ret);
/* Count the staged files that the service is to hear of; after files_define(). 0 or errno. */
int tenant_waiting(struct statedb *db, unsigned *ret);

#endif
