/* form: see form.h. */
#include "net/server/form.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode in place; the result is never longer. */
static int decode(char *s)
{
	char *out = s;

	for (; *s; s++) {
		if (*s == '%') {
			int hi = hex_digit(s[1]), lo = hi < 0 ? -1 : hex_digit(s[2]);

			if (lo < 0 || hi * 16 + lo == 0)
				return -EINVAL;
			*out++ = (char)(hi * 16 + lo);
			s += 2;
		} else {
			*out++ = *s == '+' ? ' ' : *s;
		}
	}
	*out = '\0';
	return 0;
}

static int pair(char *text, form_cb *cb, void *arg)
{
	char *value = strchr(text, '=');
	int err;

	if (!*text)
		return 0;
	if (value)
		*value++ = '\0';
	else
		value = text + strlen(text);
	err = decode(text);
	if (!err)
		err = decode(value);
	return err ? err : cb(arg, text, value);
}

int form_each(const char *text, size_t len, form_cb *cb, void *arg)
{
	char *copy, *p, *next;
	int err = 0;

	if (memchr(text, '\0', len))
		return -EINVAL;
	copy = strndup(text, len);
	if (!copy)
		return -ENOMEM;
	for (p = copy; p && !err; p = next) {
		next = strchr(p, '&');
		if (next)
			*next++ = '\0';
		err = pair(p, cb, arg);
	}
	free(copy);
	return err;
}
