#include "fs/content/shared_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/base/fdio.h"

#define PIECE (1U << 20)
#define NAME_ROOM 40 /* bytes of a name behind the id: service, token, ".tmp" */
#define SERVICE_LEN 16

/* ---- names ---- */

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

bool shared_dir_name(const char *service, const char *file_id, struct shared_name *ret)
{
	char enc[NAME_MAX + 1], sum[DIGEST_HEX_SIZE];
	struct digest *d = digest_new();
	int rc = d ? digest_update(d, service, strlen(service)) : -ENOMEM;
	size_t n = 0;

	if (!rc)
		rc = digest_hex(d, sum);
	digest_free(d);
	for (; !rc && *file_id; file_id++) {
		if (n + 3 > NAME_MAX - NAME_ROOM)
			rc = -ENAMETOOLONG;
		else if (is_plain(*file_id))
			enc[n++] = *file_id;
		else
			n += (size_t)snprintf(enc + n, 4, "%%%02X", (unsigned char)*file_id);
	}
	if (rc)
		return false;
	/* Two services may have a File of the same id. */
	snprintf(ret->content, sizeof(ret->content), "%.*s.%.*s", (int)n, enc, SERVICE_LEN, sum);
	snprintf(ret->sum, sizeof(ret->sum), "%.*s.%.*s.md5", (int)n, enc, SERVICE_LEN, sum);
	snprintf(ret->lock, sizeof(ret->lock), "%.*s.%.*s.lock", (int)n, enc, SERVICE_LEN, sum);
	return true;
}

int shared_dir_token(char ret[SHARED_TOKEN_SIZE])
{
	uint64_t random;
	int rc = digest_random(&random, sizeof(random));

	if (!rc)
		snprintf(ret, SHARED_TOKEN_SIZE, "%016" PRIx64, random);
	return rc;
}

int shared_dir_open(const char *path, int *ret_fd, mode_t *ret_mode)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		rc = -errno;
	else if (st.st_mode & S_IWOTH)
		rc = -EPERM;
	if (rc) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	/* Who may write to the directory may read what is there; nobody else. */
	*ret_mode = st.st_mode & S_IWGRP ? 0640 : 0600;
	return 0;
}

/* Open a regular file for reading. A FIFO doesn't block. fd or negative errno; -EINVAL: another
 * kind of file. */
static int open_regular(int dir, const char *name, struct stat *ret)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return errno == ELOOP || errno == ENXIO ? -EINVAL : -errno;
	if (fstat(fd, ret) || !S_ISREG(ret->st_mode)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

/* The text of a small file, "" if there is none of that size. 0 or negative errno. */
static int read_text(int dir, const char *name, char *buf, size_t size)
{
	struct stat st;
	int fd = open_regular(dir, name, &st);
	ssize_t n;

	buf[0] = '\0';
	if (fd < 0)
		return fd;
	n = pread(fd, buf, size - 1, 0);
	buf[n < 0 ? 0 : n] = '\0';
	close(fd);
	return n < 0 ? -EIO : 0;
}

static bool is_hex(const char *s, size_t len)
{
	return strspn(s, "0123456789abcdef") == len;
}

/* ---- copies ---- */

static int copy_piece(int in, int out, uint64_t off, size_t want, char *buf, struct digest *d,
		      size_t *ret_len)
{
	ssize_t n = pread(in, buf, want, (off_t)off);
	size_t done = 0;
	ssize_t w;
	int rc;

	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	rc = digest_update(d, buf, (size_t)n);
	while (!rc && done < (size_t)n) {
		w = pwrite(out, buf + done, (size_t)n - done, (off_t)(off + done));
		if (w > 0)
			done += (size_t)w;
		else if (w == 0 || errno != EINTR)
			rc = w < 0 ? -errno : -EIO;
	}
	*ret_len = (size_t)n;
	return rc;
}

/* Copies bytes bytes; -EIO: in is shorter. */
static int copy(int in, int out, uint64_t bytes, const struct shared_watch *watch,
		char ret_md5[DIGEST_HEX_SIZE])
{
	struct digest *d = digest_new();
	char *buf = malloc(PIECE);
	uint64_t off = 0;
	int rc = d && buf ? 0 : -ENOMEM;
	size_t len = 0;

	while (!rc && off < bytes) {
		rc = watch->step(watch->arg, off);
		if (!rc)
			rc = copy_piece(in, out, off,
					bytes - off < PIECE ? (size_t)(bytes - off) : PIECE, buf, d,
					&len);
		if (rc == -EINTR)
			rc = 0;
		else if (!rc)
			off += len;
	}
	if (!rc)
		rc = digest_hex(d, ret_md5);
	free(buf);
	digest_free(d);
	return rc;
}

int shared_dir_take(int dir, const struct shared_name *name, uint64_t bytes, const char *md5,
		    int out, const struct shared_watch *watch)
{
	char want[DIGEST_HEX_SIZE + 1], got[DIGEST_HEX_SIZE];
	struct stat st;
	int fd = open_regular(dir, name->content, &st), rc = 0;

	if (fd < 0 && fd != -EINVAL)
		return fd;
	/* Its MD5 was written before the content was given its name. */
	if (read_text(dir, name->sum, want, sizeof(want)))
		want[0] = '\0';
	want[DIGEST_HEX_SIZE - 1] = '\0';
	if (!is_hex(want, DIGEST_HEX_SIZE - 1))
		want[0] = '\0';
	if (md5[0])
		memcpy(want, md5, DIGEST_HEX_SIZE);
	if (fd < 0 || (uint64_t)st.st_size != bytes)
		rc = -EBADMSG;
	if (!rc)
		rc = copy(fd, out, bytes, watch, got);
	if (!rc && want[0] && strcmp(want, got))
		rc = -EBADMSG;
	if (fd >= 0)
		close(fd);
	if (rc != -EBADMSG)
		return rc;
	unlinkat(dir, name->content, 0);
	return -ENOENT;
}

/* Make a file under a temporary name. fd or negative errno. */
static int make_temp(int dir, const struct shared_name *name, mode_t mode, char ret[NAME_MAX + 1])
{
	char token[SHARED_TOKEN_SIZE];
	int fd, rc = shared_dir_token(token);

	if (rc)
		return rc;
	if (snprintf(ret, NAME_MAX + 1, "%s.%s.tmp", name->content, token) > NAME_MAX)
		return -ENAMETOOLONG;
	fd = openat(dir, ret, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	return fd < 0 ? -errno : fd;
}

/* Sync fd, close it, and give it its name; or remove it. */
static int finish_temp(int dir, int fd, const char *temp, const char *name, int rc)
{
	if (!rc && fsync(fd))
		rc = -errno;
	if (close(fd) && !rc)
		rc = -errno;
	if (!rc && renameat(dir, temp, dir, name))
		rc = -errno;
	if (rc)
		unlinkat(dir, temp, 0);
	return rc;
}

static int put_sum(int dir, const struct shared_name *name, mode_t mode, const char *md5)
{
	char temp[NAME_MAX + 1];
	int fd = make_temp(dir, name, mode, temp);
	uint64_t written;

	if (fd < 0)
		return fd;
	return finish_temp(dir, fd, temp, name->sum,
			   fdio_write(fd, md5, DIGEST_HEX_SIZE - 1, &written));
}

int shared_dir_put(int dir, const struct shared_name *name, mode_t mode, uint64_t bytes,
		   const char *md5, int in, const struct shared_watch *watch)
{
	char temp[NAME_MAX + 1], got[DIGEST_HEX_SIZE];
	int fd = make_temp(dir, name, mode, temp), rc;

	if (fd < 0)
		return fd;
	rc = copy(in, fd, bytes, watch, got);
	if (!rc && md5[0] && strcmp(md5, got))
		rc = -EIO;
	if (!rc)
		rc = put_sum(dir, name, mode, got);
	rc = finish_temp(dir, fd, temp, name->content, rc);
	if (!rc)
		(void)fsync(dir); /* a lost name costs a download */
	return rc;
}

/* ---- locks ---- */

int shared_dir_lock(int dir, const struct shared_name *name, mode_t mode, const char *token)
{
	int fd =
		openat(dir, name->lock, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	uint64_t written;
	int rc;

	if (fd < 0)
		return -errno;
	rc = fdio_write(fd, token, SHARED_TOKEN_SIZE - 1, &written);
	if (close(fd) && !rc)
		rc = -errno;
	if (rc)
		unlinkat(dir, name->lock, 0);
	return rc;
}

int shared_dir_holder(int dir, const struct shared_name *name, char ret_token[SHARED_TOKEN_SIZE],
		      uint64_t *ret_progress)
{
	char text[64];
	int rc = read_text(dir, name->lock, text, sizeof(text));

	if (rc && rc != -EINVAL)
		return rc;
	*ret_progress = 0;
	ret_token[0] = '\0';
	if (rc || strspn(text, "0123456789abcdef") != SHARED_TOKEN_SIZE - 1)
		return 0;
	memcpy(ret_token, text, SHARED_TOKEN_SIZE - 1);
	ret_token[SHARED_TOKEN_SIZE - 1] = '\0';
	*ret_progress = strtoull(text + SHARED_TOKEN_SIZE - 1, NULL, 10);
	return 0;
}

int shared_dir_beat(int dir, const struct shared_name *name, const char *token, uint64_t progress)
{
	char text[64], holder[SHARED_TOKEN_SIZE];
	uint64_t before, written;
	int fd, len, rc = shared_dir_holder(dir, name, holder, &before);

	if (rc || strcmp(holder, token))
		return rc ? rc : -ESTALE;
	fd = openat(dir, name->lock, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Always longer than before; others see it once the file is closed. */
	len = snprintf(text, sizeof(text), "%s %020" PRIu64, token, progress);
	rc = fdio_write(fd, text, (size_t)len, &written);
	if (close(fd) && !rc)
		rc = -errno;
	return rc;
}

void shared_dir_unlock(int dir, const struct shared_name *name, const char *token)
{
	char holder[SHARED_TOKEN_SIZE];
	uint64_t progress;

	if (shared_dir_holder(dir, name, holder, &progress) == 0 && !strcmp(holder, token))
		unlinkat(dir, name->lock, 0);
}

/* ---- what dead hosts left ---- */

/* True for "ID.SERVICE.TOKEN.tmp" and "ID.SERVICE.lock": names that we give. */
static bool is_passing(const char *name)
{
	size_t len = strlen(name), tail;
	const char *at;

	if (len > 4 && !strcmp(name + len - 4, ".tmp"))
		tail = 4 + SHARED_TOKEN_SIZE - 1 + 1;
	else if (len > 5 && !strcmp(name + len - 5, ".lock"))
		tail = 5;
	else
		return false;
	if (len < tail + SERVICE_LEN + 2)
		return false;
	at = name + len - tail - SERVICE_LEN;
	if (at[-1] != '.' || strspn(at, "0123456789abcdef") != SERVICE_LEN)
		return false;
	return tail == 5 ||
	       strspn(at + SERVICE_LEN + 1, "0123456789abcdef") == SHARED_TOKEN_SIZE - 1;
}

void shared_dir_clean(int dir, const struct shared_name *fresh, const struct shared_watch *watch)
{
	const int flags = AT_SYMLINK_NOFOLLOW;
	const struct dirent *e;
	struct stat now, st;
	uint64_t seen = 0;
	int fd;
	DIR *d;

	if (fstatat(dir, fresh->content, &now, flags))
		return;
	fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while (!watch->step(watch->arg, seen++) && (e = readdir(d)) != NULL)
		if (is_passing(e->d_name) && fstatat(dir, e->d_name, &st, flags) == 0 &&
		    S_ISREG(st.st_mode) && st.st_mtime < now.st_mtime - SHARED_DEAD_S)
			unlinkat(dir, e->d_name, 0);
	closedir(d);
}
