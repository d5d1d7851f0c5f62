/*
 * A state directory belongs to one service, organization and project as long as files wait in it.
 */
#include "fs/daemon/tenant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/state/tenant.h"
#include "net/base/log.h"

static int refuse(const struct daemon_tenant *t, unsigned count, const char *service,
		  const char *account)
{
	log_error("%s keeps %u file(s) for %s (%s); this mount is for %s (%s), and nothing is sent "
		  "there: mount it with the former SOURCE, organization and project, or use "
		  "another -o state_dir=; uploadfs recover list %s shows the files, and -o adopt "
		  "sends them here",
		  t->dir, count, service, account, t->service, t->account, t->dir);
	return -EPERM;
}

static int compare(struct statedb *db, const struct daemon_tenant *t, const char *service,
		   const char *account)
{
	unsigned count = 0;
	int r;

	if (service && !strcmp(service, t->service) && !strcmp(account, t->account))
		return 0;
	r = tenant_waiting(db, &count);
	if (!r && service && count && !t->adopt)
		return refuse(t, count, service, account);
	if (!r && service && count)
		log_warn("%u file(s) kept for %s (%s) go to %s (%s), as -o adopt says", count,
			 service, account, t->service, t->account);
	return r ? r : tenant_set(db, t->service, t->account);
}

int daemon_check_tenant(struct statedb *db, const struct daemon_tenant *t)
{
	char *service = NULL, *account = NULL;
	int r = tenant_get(db, &service, &account);

	if (!r)
		r = compare(db, t, service, account);
	if (r && r != -EPERM)
		log_error("state.db: the service of %s: %s", t->dir, strerror(-r));
	free(service);
	free(account);
	return r;
}
