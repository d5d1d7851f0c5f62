/*
 * multipart: a streaming parser of multipart/form-data (RFC 7578, RFC 2046). Passes a field's data
 * on at once; keeps back at most the bytes of a half-seen delimiter. Understands quoted boundaries,
 * fields without a filename, a preamble and an epilogue. MULTIPART_HEAD_MAX bounds a field's
 * headers. One thread at a time; never blocks by itself.
 */
#ifndef UPLOADFS_NET_SERVER_MULTIPART_H
#define UPLOADFS_NET_SERVER_MULTIPART_H

#include <stddef.h>

#define MULTIPART_BOUNDARY_MAX 200
#define MULTIPART_HEAD_MAX 32768

struct multipart;

/* Callbacks. Each returns 0, or a negative errno that multipart_feed() returns. */
struct multipart_ops {
	/* A field begins. filename: NULL if absent. Both strings live until begin returns. */
	int (*begin)(void *arg, const char *name, const char *filename);
	int (*data)(void *arg, const void *data, size_t len);
	int (*end)(void *arg); /* the field is complete */
};

/* content_type: the request's header. 0, -EINVAL (no multipart or no boundary), -ENOMEM. */
int multipart_new(const char *content_type, const struct multipart_ops *ops, void *arg,
		  struct multipart **ret);
void multipart_free(struct multipart *mp); /* NULL is a no-op */
/* 0, -EINVAL (malformed), -ENOMEM, -EMSGSIZE (headers too long), or what a callback returned. */
int multipart_feed(struct multipart *mp, const void *data, size_t len);
/* Finish at the end of the body: 0, or -EINVAL without a closing delimiter. */
int multipart_finish(const struct multipart *mp);

/*
 * Return the value of a parameter of a header such as `form-data; name="a"; filename="b"`,
 * unquoted. 0, -ENOENT (none), -EINVAL (unterminated quote), -EMSGSIZE (does not fit).
 */
int multipart_param(const char *header, const char *name, char *ret_value, size_t size);

#endif
