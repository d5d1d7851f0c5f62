#include "fs/stage/data.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/stage/file.h"
#include "fs/stage/staged_impl.h"
#include "net/base/fdio.h"
#include "net/base/log.h"

static int open_again(struct staged *st)
{
	struct stat sb;
	int fd;

	fd = datadir_open_file(st->sg->data, st->id, O_RDWR);
	if (fd < 0)
		return fdio_told(fd);
	/* Readers and publishers rely on the size that was there. */
	if (fstat(fd, &sb) || !S_ISREG(sb.st_mode) || (uint64_t)sb.st_size < st->size) {
		close(fd);
		log_error(DATA_DIR "/%s is not the file that it was; check the disk", st->id);
		return -EIO;
	}
	return fd;
}

int staged_fd_locked(struct staged *st)
{
	int fd;

	if (st->fd >= 0)
		return st->fd;
	fd = open_again(st);
	if (fd >= 0)
		st->fd = fd;
	return fd;
}

int staged_fd(struct staged *st)
{
	int fd;

	pthread_mutex_lock(&st->lock);
	fd = staged_fd_locked(st);
	pthread_mutex_unlock(&st->lock);
	return fd;
}

void staged_rest(struct staged *st, unsigned idle)
{
	pthread_mutex_lock(&st->lock);
	/* A file without a name can't be opened again; another's may lose it at any time. */
	if (st->fd >= 0 && atomic_load(&st->refs) <= idle && st->fate == STAGED_KEEP &&
	    !st->removed && !st->writers && !st->hash.busy && !st->syncs && !st->unsure) {
		close(st->fd);
		st->fd = -1;
	}
	pthread_mutex_unlock(&st->lock);
}

/* The data file's attributes. Under st->lock. */
static int data_stat(struct staged *st, struct stat *ret)
{
	char name[DATA_NAME_SIZE];

	if (st->fd >= 0)
		return fstat(st->fd, ret) ? -errno : 0;
	data_name(name, st->id);
	return fstatat(datadir_fd(st->sg->data), name, ret, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

int staged_mtime(struct staged *st, struct timespec *ret)
{
	struct stat sb;
	int rc;

	pthread_mutex_lock(&st->lock);
	rc = data_stat(st, &sb);
	pthread_mutex_unlock(&st->lock);
	if (!rc)
		*ret = sb.st_mtim;
	return rc;
}

void staged_set_mtime(struct staged *st, const struct timespec *mtime)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, *mtime };
	char name[DATA_NAME_SIZE];
	int rc = 0;

	data_name(name, st->id);
	pthread_mutex_lock(&st->lock);
	/* The cache sets its own times. */
	if (st->fate != STAGED_GIVEN)
		rc = st->fd >= 0 ? futimens(st->fd, times)
				 : utimensat(datadir_fd(st->sg->data), name, times,
					     AT_SYMLINK_NOFOLLOW);
	if (rc)
		log_warn("%s: its time is not kept: %s", st->id, strerror(errno));
	pthread_mutex_unlock(&st->lock);
}
