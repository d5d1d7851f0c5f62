/*
 * The file of a record. It is replaced by rename, which takes two commits of the
 * file system's journal to be durable; or, where it has two slots, the older of
 * them is overwritten, for which one write to blocks that are there already does.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/stage/record_impl.h"
#include "net/base/fdio.h"

#define SLOT 4096 /* bytes; a text in it ends with a NUL, and what lies behind it are NULs */

/* ---- writing ---- */

static int replace_file(int dirfd, const char *name, const char *tmp, const struct buf *b,
			bool durable)
{
	int fd, rc;

	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	rc = fdio_write(fd, b->data, b->len, NULL);
	if (!rc && durable && fsync(fd))
		rc = -errno;
	if (close(fd) && !rc)
		rc = -errno;
	if (!rc && renameat(dirfd, tmp, dirfd, name))
		rc = -errno;
	if (rc) {
		unlinkat(dirfd, tmp, 0);
		return rc;
	}
	return durable && fsync(dirfd) ? -errno : 0;
}

static int replace(int dirfd, const char *name, const struct buf *b, bool durable)
{
	char tmp[NAME_MAX + 1];

	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.tmp", name) >= sizeof(tmp))
		return -ENAMETOOLONG;
	return replace_file(dirfd, name, tmp, b, durable);
}

int record_save(int dirfd, const char *name, const struct record *r, bool durable)
{
	struct buf b;
	int rc;

	if (strchr(name, '/'))
		return -EINVAL;
	buf_init(&b, RECORD_SIZE_MAX);
	rc = record_format(r, &b);
	if (!rc)
		rc = replace(dirfd, name, &b, durable);
	buf_release(&b);
	return rc;
}

/* With NULs up to len bytes. */
static int pad(struct buf *b, size_t len)
{
	static const char nuls[SLOT];
	int rc = 0;

	while (!rc && b->len < len)
		rc = buf_add(b, nuls, len - b->len < SLOT ? len - b->len : SLOT);
	return rc;
}

/* b: a whole slot. Returns when it is on stable storage. */
static int overwrite(int dirfd, const char *name, unsigned slot, const struct buf *b)
{
	struct iovec v = { b->data, b->len };
	int fd, rc = 0;
	ssize_t n;

	fd = openat(dirfd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = pwritev2(fd, &v, 1, (off_t)slot * SLOT, RWF_DSYNC);
	if (n != (ssize_t)b->len)
		rc = n < 0 ? -errno : -EIO;
	if (close(fd) && !rc)
		rc = -errno;
	return rc;
}

/* slots: b is the first of two, the other one is there to be overwritten. */
static int save_anew(int dirfd, const char *name, struct buf *b, bool durable, bool slots,
		     struct record_place *place)
{
	int rc = slots ? pad(b, 2 * SLOT) : 0;

	if (!rc)
		rc = replace(dirfd, name, b, durable);
	place->slots = slots && !rc;
	place->slot = 0;
	return rc;
}

int record_save_at(int dirfd, const char *name, const struct record *r, bool durable,
		   struct record_place *place)
{
	struct record numbered = *r; /* borrows what r owns */
	struct buf b;
	bool slots;
	int rc;

	if (strchr(name, '/'))
		return -EINVAL;
	numbered.serial = ++place->serial;
	buf_init(&b, RECORD_SIZE_MAX);
	rc = record_format(&numbered, &b);
	/* What is not on stable storage is not what could be left to stand while the other slot is
	 * written. */
	slots = durable && b.len < SLOT;
	if (!rc && slots)
		rc = pad(&b, SLOT);
	if (rc)
		goto out;
	if (slots && place->slots && overwrite(dirfd, name, !place->slot, &b) == 0)
		place->slot = !place->slot;
	else
		rc = save_anew(dirfd, name, &b, durable, slots, place);
out:
	buf_release(&b);
	return rc;
}

/* ---- reading ---- */

static int read_all(int fd, struct buf *b)
{
	char chunk[8192];
	struct stat sb;
	ssize_t n;
	int rc;

	if (fstat(fd, &sb))
		return -errno;
	if (!S_ISREG(sb.st_mode))
		return -EBADMSG;
	for (;;) {
		n = read(fd, chunk, sizeof(chunk));
		if (!n)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		rc = buf_add(b, chunk, (size_t)n);
		if (rc)
			return rc == -EMSGSIZE ? -EBADMSG : rc;
	}
}

/* 0, -EBADMSG or -ENOMEM. */
static int parse_slot(const char *data, struct record *ret)
{
	size_t len = strnlen(data, SLOT);
	struct buf b;
	int rc;

	for (size_t i = len; i < SLOT; i++)
		if (data[i])
			return -EBADMSG;
	buf_init(&b, SLOT);
	rc = buf_add(&b, data, len);
	if (!rc)
		rc = record_parse(&b, ret);
	buf_release(&b);
	return rc;
}

/* The newer one counts. One that was torn was not yet there for anybody to go by. */
static int parse_slots(const char *data, struct record *ret)
{
	struct record a, b;
	int rc_a = parse_slot(data, &a), rc_b = parse_slot(data + SLOT, &b);

	if (rc_a == -ENOMEM || rc_b == -ENOMEM || (rc_a && rc_b)) {
		if (!rc_a)
			record_release(&a);
		if (!rc_b)
			record_release(&b);
		return rc_a == -ENOMEM || rc_b == -ENOMEM ? -ENOMEM : -EBADMSG;
	}
	if (!rc_a && (rc_b || a.serial > b.serial)) {
		*ret = a;
		if (!rc_b)
			record_release(&b);
		return 0;
	}
	*ret = b;
	if (!rc_a)
		record_release(&a);
	return 0;
}

/* A text alone has no NUL in it. */
static bool has_slots(const struct buf *b)
{
	return b->len == 2 * SLOT && !b->data[SLOT - 1];
}

int record_load(int dirfd, const char *name, struct record *ret)
{
	struct buf b;
	int fd, rc;

	/* Without O_NONBLOCK a FIFO of that name would hang the mount. */
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP ? -EBADMSG : -errno;
	buf_init(&b, RECORD_SIZE_MAX);
	rc = read_all(fd, &b);
	if (!rc)
		rc = has_slots(&b) ? parse_slots(b.data, ret) : record_parse(&b, ret);
	buf_release(&b);
	close(fd);
	return rc;
}
