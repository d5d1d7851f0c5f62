/* The helpers of net/api/api.h that need no connection. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "net/api/api.h"
#include "net/base/compat.h"
#include "net/base/buf.h"

/* Endings and types as the API's documents list them; images by their usual types. */
static const char *const mime_types[][2] = {
	{ "c", "text/x-c" },
	{ "cpp", "text/x-c++" },
	{ "cs", "text/x-csharp" },
	{ "css", "text/css" },
	{ "csv", "text/csv" },
	{ "doc", "application/msword" },
	{ "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document" },
	{ "gif", "image/gif" },
	{ "html", "text/html" },
	{ "java", "text/x-java" },
	{ "jpeg", "image/jpeg" },
	{ "jpg", "image/jpeg" },
	{ "js", "text/javascript" },
	{ "json", "application/json" },
	{ "jsonl", "text/jsonl" },
	{ "md", "text/markdown" },
	{ "pdf", "application/pdf" },
	{ "php", "text/x-php" },
	{ "png", "image/png" },
	{ "pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation" },
	{ "py", "text/x-python" },
	{ "rb", "text/x-ruby" },
	{ "sh", "application/x-sh" },
	{ "tex", "text/x-tex" },
	{ "ts", "application/typescript" },
	{ "txt", "text/plain" },
	{ "webp", "image/webp" },
};

const char *api_mime_type(const char *filename)
{
	const char *slash = strrchr(filename, '/');
	const char *dot = strrchr(slash ? slash : filename, '.');
	size_t i;

	for (i = 0; dot && i < sizeof(mime_types) / sizeof(mime_types[0]); i++) {
		if (!strcasecmp(dot + 1, mime_types[i][0]))
			return mime_types[i][1];
	}
	return "application/octet-stream";
}

bool api_id_valid(const char *id)
{
	return id && *id && strcmp(id, ".") && strcmp(id, "..") &&
	       strnlen(id, API_ID_MAX + 1) <= API_ID_MAX;
}

bool api_took_effect(const struct api_error *err)
{
	return err->kind != API_OK && err->http_status >= 200 && err->http_status <= 299;
}

bool api_word_valid(const char *s)
{
	static const bool good[256] = { ['a' ... 'z'] = true, ['A' ... 'Z'] = true,
					['0' ... '9'] = true, ['.'] = true,
					['_'] = true,	      ['-'] = true };
	size_t len = s ? strnlen(s, API_WORD_MAX + 1) : 0, i;
	bool ok = len && len <= API_WORD_MAX && s[0] != '.';

	for (i = 0; i < len; i++)
		ok &= good[(unsigned char)s[i]];
	return ok;
}

static void put_kind(struct buf *b, const struct api_error *err)
{
	static const char *const words[] = {
		[API_OK] = "no error",
		[API_ERR_CONNECT] = "connection failed",
		[API_ERR_TLS] = "TLS",
		[API_ERR_TIMEOUT] = "timed out",
		[API_ERR_BAD_REPLY] = "bad reply",
		[API_ERR_LOCAL] = "local error",
		[API_ERR_CANCELLED] = "cancelled",
		[API_ERR_CONFIG] = "refused before sending",
	};
	const char *word;
	char status[16];

	if (err->kind == API_ERR_HTTP) {
		snprintf(status, sizeof(status), "%d", err->http_status);
		buf_addf(b, "HTTP %s", status);
		/* On Azure the code may be the status once more. */
		word = strcmp(err->code, status) ? err->code : "";
		word = *word ? word : err->type;
		if (*word)
			buf_addf(b, " %s", word);
	} else {
		buf_adds(b, words[err->kind]);
	}
}

static void put_errno(struct buf *b, int err)
{
	const char *words = err == ENODATA ? "the file ends before the bytes announced"
					   : compat_errno_text(err);

	if (words)
		buf_addf(b, ": %s", words);
	else
		buf_addf(b, ": errno %d", err);
}

void api_error_text(const struct api_error *err, char *buf, size_t size)
{
	struct buf b;

	if (!size)
		return;
	buf_init(&b, sizeof(*err) + 128);
	put_kind(&b, err);
	if (err->message[0])
		buf_addf(&b, ": %s", err->message);
	if (err->kind == API_ERR_LOCAL && err->local_errno)
		put_errno(&b, -err->local_errno);
	if (err->request_id[0] && err->kind != API_OK)
		buf_addf(&b, " (request %s)", err->request_id);
	if (err->attempts > 1 && err->kind != API_OK)
		buf_addf(&b, " (tried %u times)", err->attempts);
	snprintf(buf, size, "%s", buf_str(&b));
	buf_release(&b);
}
