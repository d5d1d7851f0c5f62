/*
 * multipart: a streaming parser of multipart/form-data (RFC 7578, RFC 2046).
 *
 * Holds nothing of a field's data: what arrives is handed on at once, at most
 * the bytes of a half-seen delimiter are kept back. Quoted boundaries, fields
 * without a filename, a preamble and an epilogue are understood. A field's
 * headers are bounded by MULTIPART_HEAD_MAX. One thread at a time; never blocks
 * by itself.
 */
#ifndef UPLOADFS_NET_SERVER_MULTIPART_H
#define UPLOADFS_NET_SERVER_MULTIPART_H

#include <stddef.h>

#define MULTIPART_BOUNDARY_MAX 200
#define MULTIPART_HEAD_MAX 32768

struct multipart;

/* Each returns 0, or a negative errno that multipart_feed() hands back. */
struct multipart_ops {
	/* A field begins. filename is NULL when it has none. Both live until it returns. */
	int (*begin)(void *arg, const char *name, const char *filename);
	int (*data)(void *arg, const void *data, size_t len);
	int (*end)(void *arg); /* the field is whole */
};

/* content_type: the request's header. 0, -EINVAL (no multipart or no boundary), -ENOMEM. */
int multipart_new(const char *content_type, const struct multipart_ops *ops, void *arg,
		  struct multipart **ret);
void multipart_free(struct multipart *mp); /* NULL is a no-op */
/* 0, -EINVAL (malformed), -ENOMEM, -EMSGSIZE (headers too long), or what a callback returned. */
int multipart_feed(struct multipart *mp, const void *data, size_t len);
/* At the end of the body: 0, or -EINVAL when the closing delimiter was not seen. */
int multipart_finish(const struct multipart *mp);

/*
 * The value of a parameter of a header such as `form-data; name="a"; filename="b"`,
 * unquoted. 0, -ENOENT (none), -EINVAL (unterminated quote), -EMSGSIZE (does not fit).
 */
int multipart_param(const char *header, const char *name, char *ret_value, size_t size);

#endif
