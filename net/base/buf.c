#include "net/base/buf.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_SIZE 128

void buf_init(struct buf *b, size_t max)
{
	memset(b, 0, sizeof(*b));
	b->max = max;
}

void buf_release(struct buf *b)
{
	size_t max = b->max;

	free(b->data);
	buf_init(b, max);
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->err = 0;
	if (b->data)
		b->data[0] = '\0';
}

static int buf_fail(struct buf *b, int err)
{
	if (!b->err)
		b->err = err;
	return b->err;
}

/* Makes room for add more bytes and the NUL. */
static int buf_reserve(struct buf *b, size_t add)
{
	size_t need, size;
	char *data;

	if (b->err)
		return b->err;
	if (b->len > b->max || add > b->max - b->len || b->max == SIZE_MAX)
		return buf_fail(b, -EMSGSIZE);
	need = b->len + add + 1;
	if (need <= b->size)
		return 0;
	size = b->size < BUF_FIRST_SIZE ? BUF_FIRST_SIZE : b->size;
	while (size < need)
		size = size > SIZE_MAX / 2 ? need : size * 2;
	if (size > b->max + 1)
		size = b->max + 1;
	data = realloc(b->data, size);
	if (!data)
		return buf_fail(b, -ENOMEM);
	b->data = data;
	b->size = size;
	return 0;
}

void buf_expect(struct buf *b, size_t len)
{
	char *data;

	if (b->err || b->len > b->max || len > b->max - b->len || b->max == SIZE_MAX ||
	    b->len + len < b->size)
		return;
	data = realloc(b->data, b->len + len + 1);
	if (!data)
		return;
	data[b->len] = '\0';
	b->data = data;
	b->size = b->len + len + 1;
}

int buf_add(struct buf *b, const void *data, size_t len)
{
	int rc = buf_reserve(b, len);

	if (rc)
		return rc;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
	return 0;
}

int buf_adds(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int buf_addc(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

int buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int need, rc;

	if (b->err)
		return b->err;
	va_copy(again, ap);
	need = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (need < 0)
		return buf_fail(b, -EMSGSIZE);
	rc = buf_reserve(b, (size_t)need);
	if (rc)
		return rc;
	vsnprintf(b->data + b->len, (size_t)need + 1, fmt, ap);
	b->len += (size_t)need;
	return 0;
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = buf_vaddf(b, fmt, ap);
	va_end(ap);
	return rc;
}

const char *buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}
