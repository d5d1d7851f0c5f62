/*
 * A state directory belongs to one service, organization and project as long as files wait in it.
 */
#include "fs/daemon/tenant.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/config/opts.h"
#include "fs/daemon/witness.h"
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

static const char *key_source(const struct daemon_tenant *t)
{
	return t->opts->key_file ? t->opts->key_file : "";
}

static int refuse_key(const struct daemon_tenant *t, unsigned count, const char *why)
{
	log_error("%s keeps %u file(s) that were written with another key, and %s; nothing is sent "
		  "with this key: mount it with the former key, or use another -o state_dir=; "
		  "uploadfs recover list %s shows the files, and -o adopt sends them to the "
		  "account of this key",
		  t->dir, count, why, t->dir);
	return -EPERM;
}

/* No File tells: is this a key for the same account by the way it came? */
static int judge_source(struct statedb *db, const struct daemon_tenant *t, unsigned count,
			const char *former_source)
{
	unsigned unrefused = 0;
	int r = tenant_unrefused(db, &unrefused);

	if (r)
		return r;
	if (!unrefused)
		log_warn("%u file(s) kept since the former key was refused are sent with this one",
			 count);
	else if (*former_source && !strcmp(former_source, key_source(t)))
		log_warn("%u file(s) kept for the former key of %s are sent with the present one",
			 count, former_source);
	else
		return refuse_key(t, count,
				  "no File of that account is known by which to see whether this "
				  "key belongs to it");
	return 0;
}

static int judge_key(struct statedb *db, const struct daemon_tenant *t, unsigned count,
		     const char *former_source)
{
	enum witness_verdict verdict = WITNESS_NONE;
	char text[1024], why[1280];
	int r;

	if (t->adopt) {
		log_warn("%u file(s) kept for another key are sent with this one, as -o adopt says",
			 count);
		return 0;
	}
	r = witness_ask(t->opts, db, text, sizeof(text), &verdict);
	if (r)
		return r;
	switch (verdict) {
	case WITNESS_SAME:
		log_info("another key for the same account: it sees %s", text);
		return 0;
	case WITNESS_OTHER:
		snprintf(why, sizeof(why),
			 "this key sees no File of that account (%s is not there)", text);
		return refuse_key(t, count, why);
	case WITNESS_SILENT:
		snprintf(why, sizeof(why),
			 "the service does not tell whether this key belongs to the same account "
			 "(%s)",
			 text);
		return refuse_key(t, count, why);
	default:
		return judge_source(db, t, count, former_source);
	}
}

static int compare_key(struct statedb *db, const struct daemon_tenant *t)
{
	struct tenant_key former = { 0 };
	unsigned count = 0;
	int r = tenant_get_key(db, &former);

	if (r)
		return r;
	if (!strcmp(former.print, t->key_print) && !strcmp(former.from, key_source(t))) {
		tenant_release_key(&former);
		return 0;
	}
	if (*former.print && strcmp(former.print, t->key_print)) {
		r = tenant_waiting(db, &count);
		if (!r && count)
			r = judge_key(db, t, count, former.from);
	}
	if (!r)
		r = tenant_set_key(db, t->key_print, key_source(t));
	tenant_release_key(&former);
	return r;
}

int daemon_check_tenant(struct statedb *db, const struct daemon_tenant *t)
{
	char *service = NULL, *account = NULL;
	int r = tenant_get(db, &service, &account);

	if (!r)
		r = compare(db, t, service, account);
	/* local:DIR has a new key at each start. */
	if (!r && !t->opts->local_dir)
		r = compare_key(db, t);
	if (r && r != -EPERM)
		log_error("state.db: the service of %s: %s", t->dir, strerror(-r));
	free(service);
	free(account);
	return r;
}
