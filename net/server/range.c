/* range: the header Range of a request. */
#include "net/server/range.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *take_number(const char *p, uint64_t *ret, bool *found)
{
	char *end;

	*found = *p >= '0' && *p <= '9';
	if (!*found)
		return p;
	errno = 0;
	*ret = strtoull(p, &end, 10);
	if (errno)
		*ret = UINT64_MAX;
	return end;
}

int range_parse(const char *header, uint64_t size, uint64_t *ret_start, uint64_t *ret_len)
{
	static const char unit[] = "bytes=";
	uint64_t first = 0, last = UINT64_MAX;
	bool has_first, has_last;
	const char *p;

	if (!header || strncasecmp(header, unit, strlen(unit)))
		return -ENOENT;
	p = take_number(header + strlen(unit), &first, &has_first);
	if (*p != '-')
		return -ENOENT;
	p = take_number(p + 1, &last, &has_last);
	if (*p || (!has_first && !has_last) || (has_first && has_last && last < first))
		return -ENOENT;
	if (!has_first) {
		if (!last || !size)
			return -ERANGE;
		first = last < size ? size - last : 0;
		last = UINT64_MAX;
	}
	if (first >= size)
		return -ERANGE;
	if (last >= size)
		last = size - 1;
	*ret_start = first;
	*ret_len = last - first + 1;
	return 0;
}
