#include "net/http/backoff.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BACKOFF_FIRST_MS 500
#define BACKOFF_MAX_MS 8000
/* Beyond this a number in a header means "never"; the bound keeps the arithmetic exact. */
#define BACKOFF_PARSE_MAX_MS 1000000000000LL

/* Spreads the bits of the seed, so that consecutive seeds give unrelated delays. */
static uint32_t backoff_mix(uint32_t x)
{
	x ^= x >> 16;
	x *= 0x7feb352dU;
	x ^= x >> 15;
	x *= 0x846ca68bU;
	x ^= x >> 16;
	return x;
}

uint64_t backoff_delay_ms(unsigned attempt, int64_t retry_after_ms, uint32_t seed)
{
	uint64_t delay, cut;

	if (retry_after_ms > 0 && retry_after_ms <= BACKOFF_RETRY_AFTER_MAX_MS)
		return (uint64_t)retry_after_ms;
	delay = attempt > 8 ? BACKOFF_MAX_MS : (uint64_t)BACKOFF_FIRST_MS << attempt;
	if (delay > BACKOFF_MAX_MS)
		delay = BACKOFF_MAX_MS;
	cut = backoff_mix(seed) % (delay / 4 + 1);
	return delay - cut;
}

static const char *skip_space(const char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

/*
 * Parses "12" or "1.5" times scale; -1 when the text is anything else. By hand:
 * strtod() would take "inf", hexadecimal and the locale's decimal point.
 */
static int64_t parse_decimal(const char *s, int64_t scale)
{
	int64_t value = 0;

	s = skip_space(s);
	if (!isdigit((unsigned char)*s))
		return -1;
	for (; isdigit((unsigned char)*s); s++) {
		value = value * 10 + (*s - '0') * scale;
		if (value > BACKOFF_PARSE_MAX_MS)
			value = BACKOFF_PARSE_MAX_MS;
	}
	if (*s == '.') {
		for (s++; isdigit((unsigned char)*s); s++) {
			scale /= 10;
			value += (*s - '0') * scale;
		}
	}
	return *skip_space(s) ? -1 : value;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT"; strptime() would read the month in the user's language. */
int64_t backoff_parse_date(const char *s)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char month[4], zone[4];
	const char *at;
	struct tm tm;
	int end = 0;

	memset(&tm, 0, sizeof(tm));
	if (sscanf(skip_space(s), "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d %3s%n", &tm.tm_mday,
		   month, &tm.tm_year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, zone, &end) != 7)
		return -1;
	at = strlen(month) == 3 ? strstr(months, month) : NULL;
	if (!at || (at - months) % 3 || strcmp(zone, "GMT") || *skip_space(skip_space(s) + end))
		return -1;
	if (tm.tm_year < 1970 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour < 0 ||
	    tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60)
		return -1;
	tm.tm_mon = (int)((at - months) / 3);
	tm.tm_year -= 1900;
	return timegm(&tm);
}

/* Returns the milliseconds until then. */
static int64_t until_date(const char *s, int64_t now_s)
{
	int64_t then = backoff_parse_date(s);

	if (then < 0)
		return -1;
	if (then <= now_s)
		return 0;
	if (then - now_s > BACKOFF_PARSE_MAX_MS / 1000)
		return BACKOFF_PARSE_MAX_MS;
	return (then - now_s) * 1000;
}

int64_t backoff_parse_retry_after(const char *value, int64_t now_s)
{
	int64_t ms;

	if (!value)
		return -1;
	ms = parse_decimal(value, 1000);
	return ms >= 0 ? ms : until_date(value, now_s);
}

int64_t backoff_parse_retry_after_ms(const char *value)
{
	return value ? parse_decimal(value, 1) : -1;
}
