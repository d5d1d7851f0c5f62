#include "fs/meta/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/base/fdio.h"
#include "net/http/url.h"

#define LINE_SIZE_MAX 16384 /* bytes with the newline: a path of PATH_MAX, all of it encoded */
#define READ_SIZE 65536
#define WORDS_MAX 9
/*
 * Goes before a line that follows on a torn one. More than a newline: with it
 * alone a change that lacked just that, and failed, would begin to count.
 */
#define MEND "!\n"
#define MEND_LEN (sizeof(MEND) - 1)

_Static_assert(READ_SIZE > LINE_SIZE_MAX, "a line that may count fits the read buffer");

struct meta_log_out {
	struct meta_log *log;
	int fd;
	struct buf buf;
	uint64_t written;
};

static uint64_t fnv1a(const char *data, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ULL;
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ (unsigned char)data[i]) * 0x100000001b3ULL;
	return h;
}

/* Into l->line, behind MEND. 0, -ENOMEM or -ENAMETOOLONG. */
static int format_line(struct meta_log *l, const struct meta_change *c)
{
	const struct meta_attr *attr = &c->attr;
	struct buf *b = &l->line;

	buf_reset(b);
	buf_addf(b, MEND "%s%s ", c->set ? "" : "no", c->b ? "dir" : "file");
	url_encode(b, c->a);
	buf_addc(b, ' ');
	if (c->b) {
		url_encode(b, c->b);
		buf_addc(b, ' ');
	}
	if (c->set)
		buf_addf(b, "%" PRIo32 " %" PRIu32 " %" PRIu32 " ", attr->mode, attr->uid,
			 attr->gid);
	if (c->set && attr->has_mtime)
		buf_addf(b, "%" PRId64 " %" PRIu32 " ", attr->mtime_s, attr->mtime_ns);
	if (!b->err)
		buf_addf(b, "%016" PRIx64 "\n", fnv1a(b->data + MEND_LEN, b->len - MEND_LEN));
	return b->err == -EMSGSIZE ? -ENAMETOOLONG : b->err;
}

/* In place; what is no encoding stays as it is. */
static void decode(char *s)
{
	char hex[3] = "", *to = s;

	while (*s) {
		if (*s == '%' && s[1] && s[2]) {
			memcpy(hex, s + 1, 2);
			*to++ = (char)strtoul(hex, NULL, 16);
			s += 3;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* Takes text apart at each space; returns the number of words, at most WORDS_MAX. */
static size_t split_words(char *text, char *words[WORDS_MAX])
{
	size_t n = 0;

	while (text && n < WORDS_MAX) {
		words[n++] = text;
		text = strchr(text, ' ');
		if (text)
			*text++ = '\0';
	}
	return n;
}

/* Takes text apart, on which ret's strings stand then. False: it has too few words. */
static bool parse_change(char *text, struct meta_change *ret)
{
	char *words[WORDS_MAX] = { NULL };
	size_t n = split_words(text, words), at;
	struct meta_change c = { .set = strncmp(words[0], "no", 2) };
	bool dir = !strcmp(words[0] + (c.set ? 0 : 2), "dir");

	at = dir ? 3 : 2;
	if (n < at + (c.set ? 4 : 1))
		return false;
	decode(words[1]);
	c.a = words[1];
	if (dir) {
		decode(words[2]);
		c.b = words[2];
	}
	if (c.set) {
		c.attr.mode = (uint32_t)strtoull(words[at], NULL, 8);
		c.attr.uid = (uint32_t)strtoull(words[at + 1], NULL, 10);
		c.attr.gid = (uint32_t)strtoull(words[at + 2], NULL, 10);
		c.attr.has_mtime = n >= at + 6;
	}
	if (c.attr.has_mtime) {
		c.attr.mtime_s = (int64_t)strtoll(words[at + 3], NULL, 10);
		c.attr.mtime_ns = (uint32_t)strtoull(words[at + 4], NULL, 10);
	}
	*ret = c;
	return true;
}

struct loader {
	struct meta_log *log;
	int (*fn)(void *arg, const struct meta_change *c, size_t line_size);
	void *arg;
	bool skip; /* inside of a line that is too long to count */
};

/* Takes a line of size bytes with its newline. */
static int load_line(const struct loader *ld, const char *line, size_t size)
{
	struct buf *again = &ld->log->line;
	char text[LINE_SIZE_MAX];
	struct meta_change c;
	int rc;

	if (size > sizeof(text))
		return 0;
	memcpy(text, line, size - 1);
	text[size - 1] = '\0';
	if (!parse_change(text, &c))
		return 0;
	/* Parsing is lax: a line counts when what it said gives the same bytes, sum and all. */
	rc = format_line(ld->log, &c);
	if (rc)
		return rc == -ENOMEM ? rc : 0;
	if (again->len - MEND_LEN != size || memcmp(again->data + MEND_LEN, line, size))
		return 0;
	return ld->fn(ld->arg, &c, size);
}

/* Takes the whole lines at data; *ret_used is where the last one ends. */
static int load_lines(struct loader *ld, const char *data, size_t len, size_t *ret_used)
{
	const char *at = data, *end;
	int rc = 0;

	while (!rc && (end = memchr(at, '\n', len - (size_t)(at - data))) != NULL) {
		if (!ld->skip)
			rc = load_line(ld, at, (size_t)(end - at) + 1);
		ld->skip = false;
		at = end + 1;
	}
	*ret_used = (size_t)(at - data);
	return rc;
}

static int load_all(struct loader *ld, char *data)
{
	struct meta_log *l = ld->log;
	size_t have = 0, used = 0;
	ssize_t n;
	int rc;

	for (;;) {
		n = read(l->fd, data + have, READ_SIZE - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		l->size += (uint64_t)n;
		have += (size_t)n;
		rc = load_lines(ld, data, have, &used);
		if (rc)
			return rc;
		have -= used;
		memmove(data, data + used, have);
		if (have == READ_SIZE) {
			ld->skip = true;
			have = 0;
		}
	}
	l->torn = have || ld->skip;
	return n < 0 ? -errno : 0;
}

static int open_file(struct meta_log *l)
{
	struct stat st;

	/* Without O_NONBLOCK a FIFO of that name would hang the mount. */
	l->fd = openat(l->dir_fd, l->name,
		       O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (l->fd < 0 || fstat(l->fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	if ((st.st_mode & 07777) != 0600 && fchmod(l->fd, 0600))
		return -errno;
	unlinkat(l->dir_fd, l->tmp_name, 0);
	return 0;
}

static int open_dir(struct meta_log *l, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir;

	l->name = strdup(slash ? slash + 1 : path);
	if (!l->name || asprintf(&l->tmp_name, "%s.tmp", l->name) < 0) {
		l->tmp_name = NULL;
		return -ENOMEM;
	}
	/* Kept open: path may be relative, and the daemon changes its directory. */
	dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	if (!dir)
		return -ENOMEM;
	l->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	return l->dir_fd < 0 ? -errno : 0;
}

int meta_log_open(struct meta_log *l, const char *path,
		  int (*fn)(void *arg, const struct meta_change *c, size_t line_size), void *arg)
{
	struct loader ld = { .log = l, .fn = fn, .arg = arg };
	char *data;
	int rc;

	memset(l, 0, sizeof(*l));
	l->fd = l->dir_fd = -1;
	buf_init(&l->line, LINE_SIZE_MAX + MEND_LEN);
	data = malloc(READ_SIZE);
	rc = data ? open_dir(l, path) : -ENOMEM;
	if (!rc)
		rc = open_file(l);
	if (!rc)
		rc = load_all(&ld, data);
	free(data);
	if (rc)
		meta_log_close(l);
	return rc;
}

void meta_log_close(struct meta_log *l)
{
	if (l->fd >= 0)
		close(l->fd);
	if (l->dir_fd >= 0)
		close(l->dir_fd);
	l->fd = l->dir_fd = -1;
	free(l->name);
	free(l->tmp_name);
	l->name = l->tmp_name = NULL;
	buf_release(&l->line);
}

int meta_log_sync(struct meta_log *l)
{
	if (l->unsynced && (fsync(l->fd) || fsync(l->dir_fd)))
		return -errno;
	l->unsynced = false;
	return 0;
}

int meta_log_append(struct meta_log *l, const struct meta_change *c, size_t *ret_line_size)
{
	size_t skip = l->torn ? 0 : MEND_LEN;
	uint64_t written = 0;
	int rc;

	rc = format_line(l, c);
	if (rc)
		return rc;
	rc = fdio_write(l->fd, l->line.data + skip, l->line.len - skip, &written);
	l->size += written;
	l->unsynced = l->unsynced || written;
	if (rc) {
		l->torn = l->torn || written;
		return rc;
	}
	l->torn = false;
	*ret_line_size = l->line.len - MEND_LEN;
	return 0;
}

static int flush_out(struct meta_log_out *out)
{
	int rc = fdio_write(out->fd, buf_str(&out->buf), out->buf.len, &out->written);

	buf_reset(&out->buf);
	return rc;
}

int meta_log_put(struct meta_log_out *out, const struct meta_change *c)
{
	struct buf *line = &out->log->line;
	int rc = format_line(out->log, c);

	if (!rc)
		rc = buf_add(&out->buf, line->data + MEND_LEN, line->len - MEND_LEN);
	return rc || out->buf.len < READ_SIZE ? rc : flush_out(out);
}

/* Writes the file that is to replace the log. */
static int write_new(struct meta_log_out *out, int (*fill)(void *arg, struct meta_log_out *out),
		     void *arg)
{
	int rc;

	buf_init(&out->buf, READ_SIZE + LINE_SIZE_MAX);
	rc = fill(arg, out);
	if (!rc)
		rc = flush_out(out);
	if (!rc && fsync(out->fd))
		rc = -errno;
	buf_release(&out->buf);
	return rc;
}

int meta_log_rewrite(struct meta_log *l, int (*fill)(void *arg, struct meta_log_out *out),
		     void *arg)
{
	struct meta_log_out out = { .log = l };
	int rc;

	unlinkat(l->dir_fd, l->tmp_name, 0);
	out.fd = openat(l->dir_fd, l->tmp_name,
			O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out.fd < 0)
		return -errno;
	rc = write_new(&out, fill, arg);
	if (!rc && renameat(l->dir_fd, l->tmp_name, l->dir_fd, l->name))
		rc = -errno;
	if (rc) {
		unlinkat(l->dir_fd, l->tmp_name, 0);
		close(out.fd);
		return rc;
	}
	/* Should this fail, a power loss may bring the old file back: outdated, but whole. */
	fsync(l->dir_fd);
	close(l->fd);
	l->fd = out.fd;
	l->size = out.written;
	l->torn = false;
	l->unsynced = false;
	return 0;
}
