/*
 * SQLite's errors as errnos; the error that is final.
 */
#include <errno.h>
#include <stdbool.h>

#include "fs/state/store_impl.h"
#include "net/base/log.h"

void statedb_break(struct statedb *s, const char *what)
{
	bool first;

	pthread_mutex_lock(&s->wal_lock);
	first = !s->broken;
	s->broken = -EIO;
	pthread_cond_broadcast(&s->synced);
	pthread_mutex_unlock(&s->wal_lock);
	if (first)
		log_error("%s: %s; every change of files is refused with EIO until the next mount",
			  s->path, what);
}

/* Return 0, or the errno of a full disk or a quota, which SQLite reports as an I/O error. */
static int no_room(sqlite3 *db, int code)
{
	int err = sqlite3_system_errno(db);

	if (code != SQLITE_IOERR_WRITE || (err != EDQUOT && err != EFBIG && err != ENOSPC))
		return 0;
	return -err;
}

int statedb_failed(struct statedb *s, int code)
{
	return statedb_failed_at(s, s->db, code);
}

int statedb_failed_at(struct statedb *s, sqlite3 *db, int code)
{
	int err;

	switch (code & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_TOOBIG:
		return -EMSGSIZE;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_IOERR:
		if (code == SQLITE_IOERR_NOMEM)
			return -ENOMEM;
		err = no_room(db, code);
		if (err)
			return err;
		break;
	default:
		break;
	}
	statedb_break(s, sqlite3_errmsg(db));
	return -EIO;
}

int statedb_error(struct statedb *s)
{
	int err;

	pthread_mutex_lock(&s->wal_lock);
	err = s->broken;
	pthread_mutex_unlock(&s->wal_lock);
	return err;
}
