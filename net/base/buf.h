/*
 * buf: a growable byte buffer with a stated maximum.
 *
 * Every buffer that is filled from outside (a reply, a request, a file) has a
 * maximum, so that no peer can make the process grow without bound.
 * Not thread-safe; the caller owns the struct and releases it with
 * buf_release(). A zeroed struct with max set is a valid empty buffer.
 */
#ifndef UPLOADFS_NET_BASE_BUF_H
#define UPLOADFS_NET_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct buf {
	char *data;  /* always NUL-terminated once len > 0 or after any append */
	size_t len;  /* bytes in use, without the terminating NUL */
	size_t size; /* bytes allocated */
	size_t max;  /* upper bound of len, in bytes */
	int err;     /* first error of any append: 0, -ENOMEM or -EMSGSIZE; sticky */
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b); /* frees the data; the struct is empty again */
void buf_reset(struct buf *b);	 /* len = 0 and err = 0, memory kept */

/* Appends; each returns 0 or the sticky error. On error the content is unchanged. */
int buf_add(struct buf *b, const void *data, size_t len);
int buf_adds(struct buf *b, const char *s);
int buf_addc(struct buf *b, char c);
int buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vaddf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* Reserves room for len more bytes if memory allows; a failure is not an error yet. */
void buf_expect(struct buf *b, size_t len);

/* The content as a string: "" when empty. Valid until the next change of b. */
const char *buf_str(const struct buf *b);

#endif
