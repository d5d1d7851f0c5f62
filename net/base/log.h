/*
 * log: one line per message, with secrets redacted.
 *
 * log_secret() registers a string (the API key) that is replaced by
 * "[redacted]" wherever it would appear in a line; anything that looks like
 * "Bearer X" or "sk-X" is redacted too. Control bytes in a line are escaped,
 * so that text from a server can't forge lines.
 * All functions may be called from any thread; they may block on the log file.
 */
#ifndef UPLOADFS_NET_BASE_LOG_H
#define UPLOADFS_NET_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LVL_ERROR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };

void log_set_level(enum log_level level); /* default LOG_LVL_INFO */
enum log_level log_get_level(void);

/* Sends lines to stderr (default), or to syslog under ident (copied). */
void log_to_stderr(void);
void log_to_syslog(const char *ident);
/*
 * Appends to this file, made with mode 0600 if need be. 0 or negative errno; on
 * error the former target stays. Never waits for a FIFO, never follows a link:
 * -ELOOP. -EPERM unless the directory is ours or root's, and not writable by
 * others, or sticky; where others or a group can write to it, the file must be
 * ours and have one name. A regular file, or a device in a directory that only
 * its owner can write to.
 */
int log_to_file(const char *path);
/*
 * Reopens the log file by its name, also after it was renamed. 0 (also for the other targets), or
 * negative errno as above: lines then go on to the former file. Lines are not held up meanwhile.
 */
int log_reopen(void);
/* Returns what such an errno means for a log file: a constant, or strerror()'s. */
const char *log_file_why(int err);
/* Makes each further line a JSON object: "time", "level", "message", and the fields. */
void log_set_json(bool on);

/* The secret is copied; up to 8 are kept, shorter than 6 bytes are ignored; NULL is a no-op. */
void log_secret(const char *secret);

/* Copies src to dst (at most size - 1 bytes, always terminated) with secrets redacted. */
void log_redact(char *dst, size_t size, const char *src);
/*
 * Returns a redacted copy of all of src, of any length; the caller frees it. NULL: out of memory.
 */
char *log_redacted(const char *src);

void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Logs at any level: for output that was asked for. */
void log_always(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The subject of a line as JSON members; the text of the line names it too. */
struct log_field {
	const char *key;
	const char *text; /* NULL: the number is the value */
	uint64_t number;
};
void log_event(enum log_level level, const struct log_field *fields, size_t count, const char *fmt,
	       ...) __attribute__((format(printf, 4, 5)));

#define log_error(...) log_msg(LOG_LVL_ERROR, __VA_ARGS__)
#define log_warn(...) log_msg(LOG_LVL_WARN, __VA_ARGS__)
#define log_info(...) log_msg(LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_LVL_DEBUG, __VA_ARGS__)

#endif
