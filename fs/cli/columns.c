#include "fs/cli/columns.h"

#include <locale.h>
#include <string.h>
#include <wchar.h>

#define UTF8_MAX 4 /* bytes of a character */

/* A locale with character widths; the thread's own locale if none exists. */
static locale_t utf8(void)
{
	static locale_t made;

	if (!made)
		made = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
	return made;
}

/* Columns of the character at *text; advances *text past it. */
static unsigned take(const char **text)
{
	mbstate_t state = { 0 };
	wchar_t c = 0;
	size_t len = mbrtowc(&c, *text, strnlen(*text, UTF8_MAX), &state);
	int width;

	if (!len || len > UTF8_MAX) {
		(*text)++;
		return 1;
	}
	*text += len;
	width = wcwidth(c);
	return width < 0 ? 2 : (unsigned)width;
}

unsigned columns_of(const char *text)
{
	locale_t before = uselocale(utf8());
	unsigned n = 0;

	while (*text)
		n += take(&text);
	uselocale(before);
	return n;
}

const char *columns_cut(const char *text, unsigned width)
{
	locale_t before = uselocale(utf8());
	const char *next = text;
	unsigned n = 0;

	while (*text && (n += take(&next)) <= width)
		text = next;
	uselocale(before);
	return text;
}

const char *columns_tail(const char *text, unsigned width)
{
	unsigned all = columns_of(text);
	const char *from;

	if (all <= width)
		return text;
	/* If the cut splits a wide character, drop it. */
	from = columns_cut(text, all - width);
	return columns_of(from) <= width ? from : columns_cut(from, 2);
}
