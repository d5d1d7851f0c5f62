#include "net/base/log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "net/base/json.h"

#define LOG_SECRETS 8
#define LOG_SECRET_MIN 6
#define LOG_FIELDS_MAX 16
#define LOG_LINE_MAX (1U << 20)
#define LOG_MARK "[redacted]"
/* Longest replacement against its shortest match: "sk-X" becomes LOG_MARK. */
#define LOG_REDACT_GROWTH 3

enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_FILE };

static atomic_int log_level_now = LOG_LVL_INFO;

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
/* log_lock protects all variables below. */
static enum log_target log_target;
static int log_fd = -1; /* for LOG_TO_FILE */
static char *log_path;	/* of log_fd */
static char *log_ident; /* syslog keeps the pointer */
static bool log_json;
static char *log_secrets[LOG_SECRETS];
static unsigned log_secret_next; /* the oldest, which is replaced first */

void log_set_level(enum log_level level)
{
	atomic_store(&log_level_now, (int)level);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load(&log_level_now);
}

/* Needs log_lock. */
static void log_leave_target(void)
{
	if (log_target == LOG_TO_SYSLOG)
		closelog();
	if (log_fd >= 0)
		close(log_fd);
	log_fd = -1;
	free(log_path);
	log_path = NULL;
	free(log_ident);
	log_ident = NULL;
	log_target = LOG_TO_STDERR;
}

void log_to_stderr(void)
{
	pthread_mutex_lock(&log_lock);
	log_leave_target();
	pthread_mutex_unlock(&log_lock);
}

void log_to_syslog(const char *ident)
{
	pthread_mutex_lock(&log_lock);
	log_leave_target();
	log_ident = strdup(ident);
	openlog(log_ident, LOG_PID, LOG_DAEMON);
	log_target = LOG_TO_SYSLOG;
	pthread_mutex_unlock(&log_lock);
}

/* The directory of path: O_PATH, or negative errno. */
static int log_open_dir(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir =
		!slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
	int fd = dir ? open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	int r = !dir ? -ENOMEM : fd < 0 ? -errno : fd;

	free(dir);
	return r;
}

/* Would somebody else decide what is written to? 0 or -EPERM. */
static int log_check(const struct stat *dir, const struct stat *file)
{
	bool shared = dir->st_mode & (S_IWGRP | S_IWOTH);

	if (dir->st_uid != geteuid() && dir->st_uid != 0)
		return -EPERM;
	if (dir->st_mode & S_IWOTH && !(dir->st_mode & S_ISVTX))
		return -EPERM;
	/* There anybody may have put a name for what is ours elsewhere, or a file of his. */
	if (shared && (file->st_uid != geteuid() || file->st_nlink != 1))
		return -EPERM;
	return S_ISREG(file->st_mode) || (S_ISCHR(file->st_mode) && !shared) ? 0 : -EPERM;
}

static int log_open(const char *path)
{
	const char *slash = strrchr(path, '/');
	int dirfd = log_open_dir(path), fd, r;
	struct stat dir, file;

	if (dirfd < 0)
		return dirfd;
	/* A FIFO is not waited for, nor a link followed to what somebody else has chosen. */
	fd = openat(dirfd, slash ? slash + 1 : path,
		    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK,
		    0600);
	r = fd < 0 || fstat(dirfd, &dir) || fstat(fd, &file) ? -errno : log_check(&dir, &file);
	close(dirfd);
	if (!r)
		return fd;
	if (fd >= 0)
		close(fd);
	return r == -ENXIO ? -EPERM : r; /* a FIFO that nobody reads */
}

const char *log_file_why(int err)
{
	if (err == -ELOOP)
		return "it is a symbolic link; name the file itself";
	if (err == -EPERM)
		return "another user could decide what is written to; name a plain file of your "
		       "own, in a directory of yours or root's that not everybody can write to";
	return strerror(-err);
}

int log_to_file(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? log_open(path) : -ENOMEM;

	if (fd < 0) {
		free(copy);
		return fd;
	}
	pthread_mutex_lock(&log_lock);
	log_leave_target();
	log_fd = fd;
	log_path = copy;
	log_target = LOG_TO_FILE;
	pthread_mutex_unlock(&log_lock);
	return 0;
}

int log_reopen(void)
{
	char *path = NULL;
	int fd, old = -1;

	pthread_mutex_lock(&log_lock);
	if (log_target == LOG_TO_FILE)
		path = strdup(log_path);
	fd = log_target != LOG_TO_FILE ? 0 : path ? 1 : -ENOMEM;
	pthread_mutex_unlock(&log_lock);
	if (fd <= 0)
		return fd;
	/* Without the lock: a file system that hangs holds up nobody who logs. */
	fd = log_open(path);
	if (fd >= 0) {
		pthread_mutex_lock(&log_lock);
		old = fd;
		if (log_target == LOG_TO_FILE && !strcmp(log_path, path)) {
			old = log_fd;
			log_fd = fd;
		}
		pthread_mutex_unlock(&log_lock);
		close(old);
	}
	free(path);
	return fd < 0 ? fd : 0;
}

void log_set_json(bool on)
{
	pthread_mutex_lock(&log_lock);
	log_json = on;
	pthread_mutex_unlock(&log_lock);
}

void log_secret(const char *secret)
{
	unsigned i;
	char *copy;

	if (!secret || strlen(secret) < LOG_SECRET_MIN)
		return;
	pthread_mutex_lock(&log_lock);
	for (i = 0; i < LOG_SECRETS; i++) {
		if (log_secrets[i] && !strcmp(log_secrets[i], secret))
			goto out;
	}
	copy = strdup(secret);
	if (!copy)
		goto out;
	free(log_secrets[log_secret_next]);
	log_secrets[log_secret_next] = copy;
	log_secret_next = (log_secret_next + 1) % LOG_SECRETS;
out:
	pthread_mutex_unlock(&log_lock);
}

/* Bytes that keys are made of; '*' because the service masks keys in its own messages. */
static size_t log_token_len(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || (s[n] && strchr("-_.*~+/=", s[n])))
		n++;
	return n;
}

/*
 * Returns how many bytes at src are secret, and in *ret_keep how many before them stay. first: src
 * starts a word. Needs log_lock.
 */
static size_t log_match(const char *src, bool first, size_t *ret_keep)
{
	size_t best = 0, len;
	unsigned i;

	*ret_keep = 0;
	for (i = 0; i < LOG_SECRETS; i++) {
		len = log_secrets[i] ? strlen(log_secrets[i]) : 0;
		if (len > best && !strncmp(src, log_secrets[i], len))
			best = len;
	}
	if (best)
		return best;
	if (!first)
		return 0;
	if (!strncasecmp(src, "Bearer ", 7)) {
		len = log_token_len(src + 7);
		*ret_keep = len ? 7 : 0;
		return len;
	}
	if (!strncmp(src, "sk-", 3) && log_token_len(src + 3))
		return log_token_len(src);
	return 0;
}

static void log_put(char *dst, size_t size, size_t *at, const char *src, size_t len)
{
	if (*at >= size - 1)
		return;
	if (len > size - 1 - *at)
		len = size - 1 - *at;
	memcpy(dst + *at, src, len);
	*at += len;
}

void log_redact(char *dst, size_t size, const char *src)
{
	size_t at = 0, keep, len;
	bool first = true;

	if (!size)
		return;
	pthread_mutex_lock(&log_lock);
	while (*src && at < size - 1) {
		len = log_match(src, first, &keep);
		if (len) {
			log_put(dst, size, &at, src, keep);
			log_put(dst, size, &at, LOG_MARK, strlen(LOG_MARK));
			src += keep + len;
			first = true; /* the mark ends a word */
			continue;
		}
		first = !isalnum((unsigned char)*src);
		log_put(dst, size, &at, src, 1);
		src++;
	}
	pthread_mutex_unlock(&log_lock);
	dst[at] = '\0';
}

char *log_redacted(const char *src)
{
	size_t size = strlen(src) * LOG_REDACT_GROWTH + sizeof(LOG_MARK);
	char *out = malloc(size);

	if (out)
		log_redact(out, size, src);
	return out;
}

/* Returns a copy with control bytes and UTF-8 C1 controls as \xNN; the caller frees it. */
static char *log_escape(const char *s)
{
	char *out = malloc(strlen(s) * 4 + 1);
	unsigned char c, next;
	size_t at = 0;

	if (!out)
		return NULL;
	for (; *s; s++) {
		c = (unsigned char)*s;
		next = (unsigned char)s[1];
		if (c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0)) {
			snprintf(out + at, 5, "\\x%02x", c);
			at += 4;
			if (c == 0xc2) {
				snprintf(out + at, 5, "\\x%02x", next);
				at += 4;
				s++;
			}
			continue;
		}
		out[at++] = (char)c;
	}
	out[at] = '\0';
	return out;
}

/*
 * Returns a copy without secrets and control bytes; the caller frees it. It is redacted twice: the
 * last character of an escape may be the first one of a secret.
 */
static char *log_tidy(const char *raw)
{
	/* Whole before it is cut: a secret cut in two would not be recognised. */
	char *clean = log_redacted(raw);
	char *line = clean ? log_escape(clean) : NULL;
	char *out = line ? log_redacted(line) : NULL;

	free(line);
	free(clean);
	return out;
}

static char *log_format(const char *fmt, va_list ap)
{
	char *raw = NULL, *out;

	if (vasprintf(&raw, fmt, ap) < 0)
		return NULL;
	out = log_tidy(raw);
	free(raw);
	return out;
}

static void log_write(int fd, const char *line, size_t len)
{
	ssize_t n;

	while (len) {
		n = write(fd, line, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		line += n;
		len -= (size_t)n;
	}
}

static const char *const log_level_names[] = { "error", "warning", "info", "debug" };

/* The real clock, not net/base/clock: a log line tells when it was written. */
static void log_stamp(char *buf, size_t size)
{
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(buf, size, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/*
 * Returns the line with its newline, which the caller frees; NULL: out of memory. Needs log_lock.
 */
static char *log_plain_line(enum log_level level, const char *text)
{
	char stamp[32] = "", *line;

	if (log_target == LOG_TO_FILE)
		log_stamp(stamp, sizeof(stamp));
	if (asprintf(&line, "%s%s%s: %s: %s\n", stamp, *stamp ? " " : "",
		     program_invocation_short_name, log_level_names[level], text) < 0)
		return NULL;
	return line;
}

/* Returns the JSON object of fields that are already redacted; the caller frees it. */
static char *log_json_line(enum log_level level, const struct log_field *fields, size_t count,
			   const char *text)
{
	struct json_writer w;
	char stamp[32];
	struct buf b;

	log_stamp(stamp, sizeof(stamp));
	buf_init(&b, LOG_LINE_MAX);
	json_w_init(&w, &b);
	json_w_object(&w, NULL);
	json_w_str(&w, "time", stamp);
	json_w_str(&w, "level", log_level_names[level]);
	json_w_str(&w, "program", program_invocation_short_name);
	json_w_u64(&w, "pid", (uint64_t)getpid());
	json_w_str(&w, "message", text);
	for (size_t i = 0; i < count; i++) {
		if (fields[i].text)
			json_w_str(&w, fields[i].key, fields[i].text);
		else
			json_w_u64(&w, fields[i].key, fields[i].number);
	}
	json_w_end_object(&w);
	if (buf_addc(&b, '\n'))
		buf_release(&b);
	return b.data;
}

/* Needs log_lock. */
static void log_emit(enum log_level level, const struct log_field *fields, size_t count,
		     const char *text)
{
	static const int prios[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	char *line;

	if (log_target == LOG_TO_SYSLOG && !log_json) {
		syslog(prios[level], "%s", text);
		return;
	}
	line = log_json ? log_json_line(level, fields, count, text) : log_plain_line(level, text);
	if (!line)
		return;
	/* One write for one line, so that lines of several processes do not mix. */
	if (log_target == LOG_TO_SYSLOG)
		syslog(prios[level], "%.*s", (int)strcspn(line, "\n"), line);
	else
		log_write(log_target == LOG_TO_FILE ? log_fd : STDERR_FILENO, line, strlen(line));
	free(line);
}

static void log_put_line(enum log_level level, const struct log_field *fields, size_t count,
			 const char *text)
{
	pthread_mutex_lock(&log_lock);
	log_emit(level, fields, count, text ? text : "out of memory for a log line");
	pthread_mutex_unlock(&log_lock);
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;
	char *text;

	if ((int)level > atomic_load(&log_level_now))
		return;
	va_start(ap, fmt);
	text = log_format(fmt, ap);
	va_end(ap);
	log_put_line(level, NULL, 0, text);
	free(text);
	errno = saved;
}

void log_always(const char *fmt, ...)
{
	int saved = errno;
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = log_format(fmt, ap);
	va_end(ap);
	log_put_line(LOG_LVL_INFO, NULL, 0, text);
	free(text);
	errno = saved;
}

void log_event(enum log_level level, const struct log_field *fields, size_t count, const char *fmt,
	       ...)
{
	struct log_field tidy[LOG_FIELDS_MAX] = { 0 };
	int saved = errno;
	va_list ap;
	char *text;
	size_t n = 0;

	if ((int)level > atomic_load(&log_level_now))
		return;
	va_start(ap, fmt);
	text = log_format(fmt, ap);
	va_end(ap);
	for (; n < count && n < LOG_FIELDS_MAX; n++) {
		tidy[n] = fields[n];
		if (fields[n].text && !(tidy[n].text = log_tidy(fields[n].text)))
			break;
	}
	log_put_line(level, tidy, n, text);
	while (n--)
		free((char *)(uintptr_t)tidy[n].text);
	free(text);
	errno = saved;
}
