/* net/http_head: no number of a head is out of its range, and the last status line counts. */
#include <string.h>

#include "net/http/head.h"
#include "tests/fuzz/support.h"

static void check_head(const struct http_head *h)
{
	must(h->status >= 0 && h->status <= 999);
	must(h->content_length >= -1 && h->retry_after_ms >= -1 && h->date >= 0);
	must(h->range_first >= -1 && h->range_total >= -1);
	must(h->should_retry >= -1 && h->should_retry <= 1);
	must(strnlen(h->request_id, sizeof(h->request_id)) < sizeof(h->request_id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *end = at + size, *eol;
	struct http_head head, anew;

	http_head_init(&head);
	http_head_init(&anew);
	while (at < end) {
		eol = memchr(at, '\n', (size_t)(end - at));
		eol = eol ? eol + 1 : end;
		http_head_line(&head, at, (size_t)(eol - at));
		check_head(&head);
		at = eol;
	}
	/* What follows a whole head is no head: a trailer, say. */
	if (head.complete)
		return 0;
	/* A status line leaves nothing of what stood before it. */
	http_head_line(&head, "HTTP/1.1 200 OK\r\n", 17);
	http_head_line(&anew, "HTTP/1.1 200 OK\r\n", 17);
	must(head.status == 200 && !memcmp(&head, &anew, sizeof(head)));
	return 0;
}
