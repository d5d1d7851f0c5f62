#include "net/http/head.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "net/http/backoff.h"
#include "net/base/clock.h"

#define HEAD_VALUE_MAX 255 /* no value that interests us is longer */

void http_head_init(struct http_head *head)
{
	memset(head, 0, sizeof(*head));
	head->content_length = -1;
	head->range_first = head->range_total = -1;
	head->retry_after_ms = -1;
	head->should_retry = -1;
}

/* Digits at *at; moves *at behind them. -1: none, or beyond 10^18. */
static int64_t take_number(const char **at)
{
	int64_t value = 0;

	if (!isdigit((unsigned char)**at))
		return -1;
	for (; isdigit((unsigned char)**at); (*at)++) {
		if (value > 100000000000000000LL)
			return -1;
		value = value * 10 + (**at - '0');
	}
	return value;
}

/* "bytes 0-9/100", with '*' for an unknown total, or "bytes *" + "/100" for an answer 416. */
static void take_range(struct http_head *head, const char *v)
{
	int64_t first = -1, last;

	if (strncasecmp(v, "bytes ", 6))
		return;
	v += 6;
	if (*v == '*') {
		v++;
	} else {
		first = take_number(&v);
		if (first < 0 || *v++ != '-')
			return;
		last = take_number(&v);
		if (last < first)
			return;
	}
	if (*v++ != '/')
		return;
	head->range_first = first;
	head->range_total = take_number(&v);
}

static void take_header(struct http_head *head, const char *name, const char *v)
{
	int64_t ms;

	if (!strcasecmp(name, "Content-Length")) {
		head->content_length = take_number(&v);
	} else if (!strcasecmp(name, "Content-Range")) {
		take_range(head, v);
	} else if (!strcasecmp(name, "Content-Encoding")) {
		head->coded |= *v && strcasecmp(v, "identity");
	} else if (!strcasecmp(name, "Date")) {
		head->date = backoff_parse_date(v);
		if (head->date < 0)
			head->date = 0;
	} else if (!strcasecmp(name, "x-request-id")) {
		snprintf(head->request_id, sizeof(head->request_id), "%s", v);
	} else if (!strcasecmp(name, "x-should-retry")) {
		head->should_retry = !strcasecmp(v, "true") ? 1 : !strcasecmp(v, "false") ? 0 : -1;
	} else if (!strcasecmp(name, "retry-after-ms")) {
		ms = backoff_parse_retry_after_ms(v);
		if (ms >= 0)
			head->retry_after_ms = ms;
	} else if (!strcasecmp(name, "Retry-After") && head->retry_after_ms < 0) {
		head->retry_after_ms = backoff_parse_retry_after(v, clock_wall_s());
	}
}

void http_head_line(struct http_head *head, const char *line, size_t len)
{
	char text[HEAD_VALUE_MAX + 1], *value;
	size_t at = 0;

	if (head->complete)
		return;
	while (len && isspace((unsigned char)line[len - 1]))
		len--;
	if (!len)
		head->complete = head->status >= 200;
	if (len > HEAD_VALUE_MAX || memchr(line, '\0', len))
		return;
	memcpy(text, line, len);
	text[len] = '\0';
	if (!strncmp(text, "HTTP/", 5)) {
		http_head_init(head);
		while (text[at] && text[at] != ' ')
			at++;
		if (sscanf(text + at, " %3d", &head->status) != 1 || head->status < 0)
			head->status = 0;
		return;
	}
	value = strchr(text, ':');
	if (!value)
		return;
	*value++ = '\0';
	take_header(head, text, value + strspn(value, " \t"));
}
