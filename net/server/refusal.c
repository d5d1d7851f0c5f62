/* refusal: see refusal.h. */
#include "net/server/refusal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "net/base/json.h"

int refuse(struct refusal *r, int status, const char *param, const char *code, const char *fmt, ...)
{
	va_list ap;

	*r = (struct refusal){ .status = status };
	snprintf(r->param, sizeof(r->param), "%s", param ? param : "");
	snprintf(r->code, sizeof(r->code), "%s", code ? code : "");
	va_start(ap, fmt);
	vsnprintf(r->message, sizeof(r->message), fmt, ap);
	va_end(ap);
	return -EPROTO;
}

int refuse_state(struct refusal *r, const char *fmt, ...)
{
	char text[sizeof(r->message)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	refuse(r, 400, NULL, NULL, "%s", text);
	r->state = true;
	return -EPROTO;
}

void refusal_from_errno(struct refusal *r, int err)
{
	int status = err == -ENOSPC || err == -EDQUOT ? 507 : 500;

	refuse(r, status, NULL, NULL, "The server could not process the request: %s",
	       strerror(-err));
}

/* Return the code of Azure's description for a refusal. */
static const char *azure_code(const struct refusal *r)
{
	static const struct {
		int status;
		const char *code;
	} codes[] = {
		{ 401, "unauthorized" },    { 403, "forbidden" },	   { 404, "notFound" },
		{ 429, "tooManyRequests" }, { 503, "serviceUnavailable" }, { 507, "quotaExceeded" },
	};
	size_t i;

	if (r->state)
		return "unexpectedEntityState";
	for (i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
		if (codes[i].status == r->status)
			return codes[i].code;
	}
	return r->status >= 500 ? "internalFailure" : "invalidPayload";
}

static void put_terse(struct json_writer *w, const struct refusal *r)
{
	json_w_str(w, "code", r->verbatim && *r->code ? r->code : azure_code(r));
	json_w_str(w, "message", r->message);
}

static void put_whole(struct json_writer *w, const struct refusal *r)
{
	json_w_str(w, "message", r->message);
	json_w_str(w, "type", r->status >= 500 ? "server_error" : "invalid_request_error");
	json_w_str(w, "param", *r->param ? r->param : NULL);
	json_w_str(w, "code", *r->code ? r->code : NULL);
}

void refusal_json(struct buf *out, const struct refusal *r, bool terse)
{
	struct json_writer w;

	json_w_init(&w, out);
	json_w_object(&w, NULL);
	json_w_object(&w, "error");
	if (terse)
		put_terse(&w, r);
	else
		put_whole(&w, r);
	json_w_end_object(&w);
	json_w_end_object(&w);
}
