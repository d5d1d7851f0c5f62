/* multipart: see multipart.h. */
#include "net/server/multipart.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "net/base/buf.h"

enum mp_state {
	MP_PREAMBLE, /* before the first delimiter */
	MP_TAIL,     /* behind a delimiter: "--", or white space and CRLF */
	MP_HEAD,     /* a field's headers */
	MP_DATA,
	MP_EPILOGUE /* the closing delimiter was seen; the rest is ignored */
};

struct multipart {
	const struct multipart_ops *ops;
	void *arg;
	enum mp_state state;
	char delim[MULTIPART_BOUNDARY_MAX + 5]; /* CR LF "--" boundary */
	size_t delim_len;
	/*
	 * Count of delim's bytes at the end of the input so far; they are not stored, as delim has
	 * them. CR occurs only at delim's start, so no later delimiter can begin among them after a
	 * mismatch.
	 */
	size_t matched;
	char tail[8];
	size_t tail_len;
	struct buf head;
};

static const char *skip_value(const char *p)
{
	if (*p != '"')
		return p + strcspn(p, ";");
	for (p++; *p && *p != '"'; p++) {
		if (*p == '\\' && p[1])
			p++;
	}
	return p + strcspn(p, ";");
}

static int copy_value(const char *p, char *ret_value, size_t size)
{
	bool quoted = *p == '"';
	size_t len = 0;

	if (quoted)
		p++;
	while (*p && (quoted ? *p != '"' : !strchr("; \t", *p))) {
		/* Only \" and \\ are escapes: old browsers send bare backslashes. */
		if (quoted && *p == '\\' && (p[1] == '"' || p[1] == '\\'))
			p++;
		if (len + 1 >= size)
			return -EMSGSIZE;
		ret_value[len++] = *p++;
	}
	if (quoted && *p != '"')
		return -EINVAL;
	ret_value[len] = '\0';
	return 0;
}

int multipart_param(const char *header, const char *name, char *ret_value, size_t size)
{
	const char *p = header + strcspn(header, ";");
	size_t len;

	while (*p == ';') {
		p += 1 + strspn(p + 1, " \t");
		len = strcspn(p, "=; \t");
		if (len == strlen(name) && !strncasecmp(p, name, len) && p[len] == '=')
			return copy_value(p + len + 1, ret_value, size);
		p += len;
		p = *p == '=' ? skip_value(p + 1) : p + strcspn(p, ";");
	}
	return -ENOENT;
}

int multipart_new(const char *content_type, const struct multipart_ops *ops, void *arg,
		  struct multipart **ret)
{
	static const char kind[] = "multipart/form-data";
	char boundary[MULTIPART_BOUNDARY_MAX + 1];
	struct multipart *mp;

	if (strncasecmp(content_type, kind, strlen(kind)) ||
	    multipart_param(content_type, "boundary", boundary, sizeof(boundary)) || !*boundary ||
	    strpbrk(boundary, "\r\n"))
		return -EINVAL;
	mp = calloc(1, sizeof(*mp));
	if (!mp)
		return -ENOMEM;
	mp->ops = ops;
	mp->arg = arg;
	memcpy(mp->delim, "\r\n--", 4);
	mp->delim_len = 4 + strlen(boundary);
	memcpy(mp->delim + 4, boundary, strlen(boundary));
	/* The first delimiter may stand at the very beginning, without its CRLF. */
	mp->matched = 2;
	buf_init(&mp->head, MULTIPART_HEAD_MAX);
	*ret = mp;
	return 0;
}

void multipart_free(struct multipart *mp)
{
	if (!mp)
		return;
	buf_release(&mp->head);
	free(mp);
}

static int emit(struct multipart *mp, const char *data, size_t len)
{
	if (mp->state != MP_DATA || !len)
		return 0;
	return mp->ops->data(mp->arg, data, len);
}

static int delim_found(struct multipart *mp)
{
	int err = mp->state == MP_DATA ? mp->ops->end(mp->arg) : 0;

	mp->matched = 0;
	mp->tail_len = 0;
	mp->state = MP_TAIL;
	return err;
}

/* Continue a delimiter whose beginning was seen; *p advances over the used bytes. */
static int resume_delim(struct multipart *mp, const char **p, const char *end)
{
	size_t had;

	while (*p < end && mp->matched < mp->delim_len && **p == mp->delim[mp->matched]) {
		mp->matched++;
		(*p)++;
	}
	if (mp->matched == mp->delim_len)
		return delim_found(mp);
	if (*p == end)
		return 0;
	had = mp->matched;
	mp->matched = 0;
	return emit(mp, mp->delim, had);
}

/* Pass on data up to the next delimiter or the end of the input. */
static int scan_data(struct multipart *mp, const char **p, const char *end)
{
	const char *start = *p, *hit, *from, *cr;
	int err;

	hit = memmem(start, (size_t)(end - start), mp->delim, mp->delim_len);
	if (hit) {
		*p = hit + mp->delim_len;
		err = emit(mp, start, (size_t)(hit - start));
		return err ? err : delim_found(mp);
	}
	from = (size_t)(end - start) < mp->delim_len ? start : end - mp->delim_len + 1;
	cr = memrchr(from, '\r', (size_t)(end - from));
	*p = end;
	if (!cr || memcmp(cr, mp->delim, (size_t)(end - cr)))
		return emit(mp, start, (size_t)(end - start));
	mp->matched = (size_t)(end - cr);
	return emit(mp, start, (size_t)(cr - start));
}

/* Take one byte behind a delimiter. */
static int feed_tail(struct multipart *mp, char c)
{
	if (mp->tail_len == 0 && (c == ' ' || c == '\t'))
		return 0;
	mp->tail[mp->tail_len++] = c;
	if (mp->tail_len == 1)
		return c == '-' || c == '\r' ? 0 : -EINVAL;
	if (mp->tail[0] == '-' && c == '-') {
		mp->state = MP_EPILOGUE;
		return 0;
	}
	if (mp->tail[0] != '\r' || c != '\n')
		return -EINVAL;
	mp->state = MP_HEAD;
	buf_reset(&mp->head);
	return 0;
}

/* line: a header line of the field, terminated. */
static int head_line(const char *line, char **name, char **filename)
{
	static const char key[] = "content-disposition:";
	size_t size = strlen(line) + 1;
	int err;

	if (strncasecmp(line, key, strlen(key)))
		return 0;
	if (*name)
		return -EINVAL;
	*name = malloc(size);
	*filename = malloc(size);
	if (!*name || !*filename)
		return -ENOMEM;
	err = multipart_param(line, "name", *name, size);
	if (err)
		return -EINVAL;
	err = multipart_param(line, "filename", *filename, size);
	if (err == -ENOENT) {
		free(*filename);
		*filename = NULL;
		err = 0;
	}
	return err;
}

/* The headers of a field are complete. */
static int head_done(struct multipart *mp)
{
	char *line = mp->head.data, *next, *name = NULL, *filename = NULL;
	int err = 0;

	if (strlen(line) != mp->head.len)
		return -EINVAL;
	for (; !err && *line; line = next) {
		next = strstr(line, "\r\n");
		*next = '\0';
		next += 2;
		err = head_line(line, &name, &filename);
	}
	if (!err && !name)
		err = -EINVAL;
	mp->state = MP_DATA;
	if (!err)
		err = mp->ops->begin(mp->arg, name, filename);
	free(name);
	free(filename);
	return err;
}

static int feed_head(struct multipart *mp, char c)
{
	int err = buf_addc(&mp->head, c);
	size_t len = mp->head.len;

	if (err || c != '\n')
		return err;
	if (len == 2 && mp->head.data[0] == '\r')
		return -EINVAL;
	if (len >= 4 && !memcmp(mp->head.data + len - 4, "\r\n\r\n", 4))
		return head_done(mp);
	return 0;
}

int multipart_feed(struct multipart *mp, const void *data, size_t len)
{
	const char *p = data, *end = p + len;
	int err = 0;

	while (!err && p < end) {
		switch (mp->state) {
		case MP_PREAMBLE:
		case MP_DATA:
			err = mp->matched ? resume_delim(mp, &p, end) : scan_data(mp, &p, end);
			break;
		case MP_TAIL:
			err = feed_tail(mp, *p++);
			break;
		case MP_HEAD:
			err = feed_head(mp, *p++);
			break;
		case MP_EPILOGUE:
			return 0;
		}
	}
	return err;
}

int multipart_finish(const struct multipart *mp)
{
	return mp->state == MP_EPILOGUE ? 0 : -EINVAL;
}
