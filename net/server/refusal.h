/*
 * refusal: the reason for refusing a request, in the terms of the API. Functions that serve a
 * request return 0, -EPROTO after filling a refusal, or another negative errno for a failure of our
 * own, which becomes a 500.
 */
#ifndef UPLOADFS_NET_SERVER_REFUSAL_H
#define UPLOADFS_NET_SERVER_REFUSAL_H

#include <stdbool.h>

#include "net/base/buf.h"

struct refusal {
	int status;	/* HTTP status */
	char param[80]; /* "": null */
	char code[64];	/* "": null */
	char message[400];
	bool state;    /* the object is no longer in the state that the request needs */
	bool verbatim; /* a fault rule wrote the code: any flavor shows it as it is */
};

/*
 * Fill r; param (the path of a member: "expires_after.seconds") and code may be NULL. Returns
 * -EPROTO.
 */
int refuse(struct refusal *r, int status, const char *param, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* Refuse with 400 since the object is in another state than the request needs. Returns -EPROTO. */
int refuse_state(struct refusal *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Turn a failure of our own (a negative errno) into a refusal with 500, or 507 for a full disk. */
void refusal_from_errno(struct refusal *r, int err);
/*
 * Write {"error":{"message","type","param","code"}}; terse, as Azure: {"error":{"code","message"}}
 * with one of its codes.
 */
void refusal_json(struct buf *out, const struct refusal *r, bool terse);

#endif
