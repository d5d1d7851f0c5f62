#include "fs/config/value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fs/config/say.h"
#include "net/base/buf.h"

const char *opts_env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

void opts_wipe(char *secret)
{
	if (!secret)
		return;
	explicit_bzero(secret, strlen(secret));
	free(secret);
}

void opts_escape(struct buf *b, const char *text)
{
	for (; *text; text++) {
		if (*text == ',' || *text == '\\')
			buf_addc(b, '\\');
		buf_addc(b, *text);
	}
}

int opts_number(enum opts_form form, const char *name, const char *value, unsigned example,
		uint64_t *ret)
{
	static const char units[] = "KMGT";
	unsigned long long n;
	const char *unit;
	unsigned shift = 0;
	char *end;

	errno = 0;
	n = strtoull(value, &end, form == OPTS_OCTAL ? 8 : 10);
	if (!isdigit((unsigned char)*value) || errno)
		goto bad;
	if (form == OPTS_SIZE && *end) {
		unit = strchr(units, toupper((unsigned char)*end));
		if (!unit)
			goto bad;
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
		/* KB and KiB mean K. */
		end += strcasecmp(end, "iB") == 0 ? 2 : strcasecmp(end, "B") == 0 ? 1 : 0;
	}
	if (*end || n > UINT64_MAX >> shift)
		goto bad;
	*ret = (uint64_t)n << shift;
	return 0;
bad:
	if (form == OPTS_OCTAL)
		return opts_fail("%s=%s is not a mode; use octal digits, as in %s=022", name, value,
				 name);
	if (form == OPTS_SIZE)
		return opts_fail("%s=%s is not a size; use a number, then K, M, G or T for binary "
				 "units, as in %s=64M",
				 name, value, name);
	return opts_fail("%s=%s is not a number; use digits, as in %s=%u", name, value, name,
			 example);
}
