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

	r->status = status;
	snprintf(r->param, sizeof(r->param), "%s", param ? param : "");
	snprintf(r->code, sizeof(r->code), "%s", code ? code : "");
	va_start(ap, fmt);
	vsnprintf(r->message, sizeof(r->message), fmt, ap);
	va_end(ap);
	return -EPROTO;
}

void refusal_from_errno(struct refusal *r, int err)
{
	int status = err == -ENOSPC || err == -EDQUOT ? 507 : 500;

	refuse(r, status, NULL, NULL, "The server could not process the request: %s",
	       strerror(-err));
}

static void put_terse(struct json_writer *w, const struct refusal *r)
{
	char status[16];

	snprintf(status, sizeof(status), "%d", r->status);
	json_w_str(w, "code", *r->code ? r->code : status);
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
