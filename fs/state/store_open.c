/*
 * Open the database; recognize a damaged one and set it aside.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fs/state/store_impl.h"
#include "net/base/clock.h"
#include "net/base/digest.h"
#include "net/base/log.h"

#define FORMAT 1
#define ASIDE_TRIES 100
#define BUSY_MS 500

/* The files of a database: itself, its WAL, and the journal of its creation. */
static const char *const endings[] = { "", "-wal", "-journal" };

/* ---- one try ---- */

static off_t size_of(const char *path, const char *ending)
{
	struct stat st;
	char *name;
	off_t size;

	if (asprintf(&name, "%s%s", path, ending) < 0)
		return -1;
	size = lstat(name, &st) ? -1 : st.st_size;
	free(name);
	return size;
}

/*
 * Wait for readers without a daemon (doctor), which finish soon. A process that was forked from one
 * with the database open can't be told by SQLite, which takes it for that one. 0 or -EBUSY.
 */
static int wait_for_others(int fd)
{
	static const struct timespec pause = { .tv_nsec = 5000000 };
	/* The bytes that SQLite locks. */
	struct flock lock = { .l_whence = SEEK_SET, .l_start = 0x40000000, .l_len = 512 };
	uint64_t until = clock_mono_ms() + BUSY_MS;

	for (;;) {
		lock.l_type = F_WRLCK;
		if (fcntl(fd, F_GETLK, &lock) || lock.l_type == F_UNLCK)
			return 0;
		if (clock_mono_ms() >= until)
			return -EBUSY;
		lock.l_start = 0x40000000;
		lock.l_len = 512;
		nanosleep(&pause, NULL);
	}
}

/* Make the file here: SQLite would use the umask's mode and follow a symlink. */
static int make_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	struct stat st;
	int rc = 0;

	if (fd < 0)
		return errno == ELOOP || errno == EISDIR || errno == ENXIO ? -EBADMSG : -errno;
	if (fstat(fd, &st))
		rc = -errno;
	else if (!S_ISREG(st.st_mode))
		rc = -EBADMSG;
	else if ((st.st_mode & 07777) != 0600 && fchmod(fd, 0600))
		rc = -errno;
	if (!rc)
		rc = wait_for_others(fd);
	close(fd);
	return rc;
}

/* Return the first value of the first row as text; "" without a row. */
static int ask(struct statedb *s, const char *sql, char *ret, size_t size)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL);

	*ret = '\0';
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW && sqlite3_column_text(stmt, 0))
		snprintf(ret, size, "%s", (const char *)sqlite3_column_text(stmt, 0));
	sqlite3_finalize(stmt);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Map an error of the open: -EBADMSG is damage, unlike errors of the disk or of other processes. */
static int open_failed(struct statedb *s, int code)
{
	switch (code & 0xff) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_READONLY:
		return -EROFS;
	default:
		log_error("%s: %s", s->path, sqlite3_errmsg(s->db));
		return -EIO;
	}
}

/* NORMAL syncs only at checkpoints. */
static int set_pragmas(struct statedb *s)
{
	static const char *const pragmas[] = {
		"PRAGMA mmap_size = 0",	       "PRAGMA journal_mode = WAL",
		"PRAGMA synchronous = NORMAL", "PRAGMA wal_autocheckpoint = 0",
		"PRAGMA temp_store = MEMORY",  "PRAGMA foreign_keys = ON",
	};
	char text[64];

	for (size_t i = 0; i < sizeof(pragmas) / sizeof(*pragmas); i++) {
		int rc = ask(s, pragmas[i], text, sizeof(text));

		if (rc != SQLITE_OK)
			return open_failed(s, rc);
		if (strstr(pragmas[i], "journal_mode") && strcmp(text, "wal")) {
			log_error("%s: no write-ahead log on this file system (%s)", s->path, text);
			return -ENOTSUP;
		}
	}
	return 0;
}

/* Return the code that a line of quick_check tells ("... error code=266"), or 0. */
static int told_code(const char *text)
{
	const char *at = strstr(text, "error code");

	return at ? (int)strtol(at + strcspn(at, "0123456789"), NULL, 10) : 0;
}

static int check(struct statedb *s)
{
	char text[256];
	int rc = ask(s, "PRAGMA quick_check(1)", text, sizeof(text));

	if (rc != SQLITE_OK)
		return open_failed(s, rc);
	/* A page that can't be read is a line of the report as well, and no damage. */
	rc = told_code(text) & 0xff;
	if (rc == SQLITE_IOERR || rc == SQLITE_NOMEM) {
		log_error("%s: %s", s->path, text);
		return rc == SQLITE_IOERR ? -EIO : -ENOMEM;
	}
	if (strcmp(text, "ok")) {
		log_error("%s: %s", s->path, text);
		return -EBADMSG;
	}
	return 0;
}

static int make_identity(struct statedb *s)
{
	unsigned char raw[16];
	char sql[400], *at = s->uuid;
	int rc = digest_random(raw, sizeof(raw));

	if (rc)
		return rc;
	for (size_t i = 0; i < sizeof(raw); i++, at += 2)
		snprintf(at, 3, "%02x", raw[i]);
	snprintf(sql, sizeof(sql),
		 "BEGIN IMMEDIATE;"
		 "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
		 "INSERT INTO meta VALUES ('format', %d), ('uuid', '%s'), ('checkpoints', 0);"
		 "COMMIT",
		 FORMAT, s->uuid);
	rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : open_failed(s, rc);
}

/* Read format and UUID; a database without tables is new. */
static int read_identity(struct statedb *s)
{
	char text[64];
	int rc = ask(s, "SELECT count(*) FROM sqlite_master", text, sizeof(text));

	if (rc != SQLITE_OK)
		return open_failed(s, rc);
	if (!strcmp(text, "0"))
		return make_identity(s);
	rc = ask(s, "SELECT value FROM meta WHERE key = 'format'", text, sizeof(text));
	/* SQLITE_ERROR: no such table: the database is foreign, or incomplete. */
	if (rc != SQLITE_OK)
		return rc == SQLITE_ERROR ? -EBADMSG : open_failed(s, rc);
	if (strtol(text, NULL, 10) > FORMAT) {
		log_error("%s was made by a later version of uploadfs; use that one", s->path);
		return -EPROTONOSUPPORT;
	}
	rc = ask(s, "SELECT value FROM meta WHERE key = 'uuid'", s->uuid, sizeof(s->uuid));
	if (rc != SQLITE_OK)
		return open_failed(s, rc);
	return strlen(s->uuid) == STATEDB_UUID_SIZE - 1 ? 0 : -EBADMSG;
}

static int try_open(struct statedb *s)
{
	int rc;

	/* Don't open: SQLite would delete that WAL as a leftover. */
	if (size_of(s->path, "") <= 0 && size_of(s->path, "-wal") > 0)
		return -EBADMSG;
	rc = make_file(s->path);
	if (rc)
		return rc == -EBADMSG ? -EMEDIUMTYPE : rc;
	rc = sqlite3_open_v2(s->path, &s->db,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			     STATEDB_VFS);
	if (!s->db)
		return -ENOMEM;
	if (rc != SQLITE_OK)
		return open_failed(s, rc);
	/* Wait for readers without a daemon (doctor): they finish soon. */
	sqlite3_busy_timeout(s->db, BUSY_MS);
	rc = set_pragmas(s);
	if (!rc)
		rc = check(s);
	return rc ? rc : read_identity(s);
}

/* keep_wal: leave the WAL, for a database that must stay as it is. */
static void close_db(struct statedb *s, bool keep_wal)
{
	for (unsigned i = 0; i < s->prepared_count; i++)
		sqlite3_finalize(s->prepared[i].stmt);
	s->prepared_count = 0;
	if (s->db && keep_wal)
		sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (sqlite3_close(s->db) != SQLITE_OK)
		log_error("%s: not closed: %s", s->path, sqlite3_errmsg(s->db));
	s->db = NULL;
}

/* ---- damage ---- */

/* Make a free name that ends in the present time, in UTC. */
static char *name_aside(const char *path)
{
	struct timespec now = clock_wall_ts();
	char when[32], *name = NULL;
	struct tm tm;

	gmtime_r(&now.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
	for (unsigned n = 0; n < ASIDE_TRIES; n++) {
		int len = n ? asprintf(&name, "%s.damaged-%s.%u", path, when, n)
			    : asprintf(&name, "%s.damaged-%s", path, when);

		if (len < 0)
			return NULL;
		if (size_of(name, "") < 0 && size_of(name, "-wal") < 0)
			return name;
		free(name);
	}
	return NULL;
}

static int move_one(const char *path, const char *aside, const char *ending)
{
	char *from = NULL, *to = NULL;
	int rc = -ENOMEM;

	if (asprintf(&from, "%s%s", path, ending) < 0)
		from = NULL;
	if (asprintf(&to, "%s%s", aside, ending) < 0)
		to = NULL;
	if (from && to)
		rc = rename(from, to) && errno != ENOENT ? -errno : 0;
	free(from);
	free(to);
	return rc;
}

/* Move the WAL first: a database without its WAL is whole, a WAL without its database is not. */
static int set_aside(const char *path)
{
	char *aside = name_aside(path);
	int rc = aside ? 0 : -ENOMEM;

	for (size_t i = sizeof(endings) / sizeof(*endings); !rc && i > 0; i--)
		rc = move_one(path, aside, endings[i - 1]);
	if (rc)
		log_error("%s is damaged and can't be set aside: %s", path, strerror(-rc));
	else
		log_error("%s is damaged; set aside as %s, and a new one is made: modes, owners "
			  "and times that were set, and what is known of files that are not "
			  "published, are lost with it",
			  path, aside);
	free(aside);
	return rc;
}

/* ---- the whole ---- */

/* Sync the directory: without it a power cut may lose both files, synced or not. */
static int sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd))
		rc = -errno;
	close(fd);
	return rc;
}

static int open_db(struct statedb *s, bool as_is)
{
	int rc = try_open(s);

	s->intact = rc != -EBADMSG;
	if (rc == -EBADMSG && !as_is) {
		close_db(s, true);
		rc = set_aside(s->path);
		if (!rc)
			rc = try_open(s);
	}
	return rc == -EMEDIUMTYPE ? -EBADMSG : rc;
}

static void free_store(struct statedb *s, bool keep_wal)
{
	statedb_wal_stop(s);
	statedb_copy_close(s);
	close_db(s, keep_wal);
	if (s->wal_fd >= 0)
		close(s->wal_fd);
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->synced);
	pthread_mutex_destroy(&s->copy_lock);
	pthread_mutex_destroy(&s->wal_lock);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}

static int open_store(const char *dir, bool as_is, struct statedb **ret)
{
	struct statedb *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->wal_fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->copy_lock, NULL);
	pthread_mutex_init(&s->wal_lock, NULL);
	pthread_cond_init(&s->synced, NULL);
	clock_cond_init(&s->work);
	if (asprintf(&s->path, "%s/state.db", dir) < 0) {
		s->path = NULL;
		rc = -ENOMEM;
	} else {
		rc = open_db(s, as_is);
	}
	if (!rc)
		rc = statedb_prepare(s);
	if (!rc)
		rc = statedb_define(s, "UPDATE meta SET value = value WHERE key = 'checkpoints'");
	if (!rc)
		rc = sync_dir(dir);
	if (!rc)
		rc = statedb_copy_open(s);
	if (!rc)
		rc = statedb_wal_start(s);
	if (rc) {
		free_store(s, true);
		return rc;
	}
	*ret = s;
	return 0;
}

int statedb_open(const char *dir, struct statedb **ret)
{
	return open_store(dir, false, ret);
}

int statedb_open_as_is(const char *dir, struct statedb **ret)
{
	return open_store(dir, true, ret);
}

void statedb_close(struct statedb *s)
{
	if (!s)
		return;
	statedb_flush(s);
	free_store(s, statedb_error(s) != 0);
}

bool statedb_is_intact(const struct statedb *s)
{
	return s->intact;
}

const char *statedb_uuid(const struct statedb *s)
{
	return s->uuid;
}
