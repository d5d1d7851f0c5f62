/*
 * Extended attributes user.upload.*: the state of a file's publication, in words and ids.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/publish/publisher.h"
#include "fs/stage/file.h"
#include "fs/tree/inode.h"
#include "fs/vfs/check.h"
#include "fs/vfs/file_state.h"
#include "fs/vfs/lifetime.h"
#include "fs/vfs/staged_side.h"
#include "fs/vfs/vfs_impl.h"
#include "net/api/api.h"

#define PREFIX "user.upload."

/* Copies of all that one file's attributes are made from, so that no lock is needed. */
struct facts {
	bool local, has_id, dirty;
	struct publish_info info;
	char file_id[API_ID_MAX + 1], upload_id[API_ID_MAX + 1], md5[33];
	unsigned parts;
	char *name; /* of the present or future File */
	const char *purpose;
	uint64_t bytes;
	int64_t created_at, expires_at;
	char file_status[32]; /* "": not known */
	char *details;
};

static void copy_published(struct facts *f, const struct inode *i)
{
	if (!i->published)
		return;
	memcpy(f->md5, i->published->md5, sizeof(f->md5));
	f->parts = i->published->parts;
	if (i->published->error) {
		f->info.status = "failed";
		snprintf(f->info.error, sizeof(f->info.error), "%s", i->published->error);
	}
	if (i->published->upload_id)
		snprintf(f->upload_id, sizeof(f->upload_id), "%s", i->published->upload_id);
}

static void release(struct facts *f)
{
	free(f->name);
	free(f->details);
}

/* What the service tells of the File; of one published here, what its complete told. */
static int copy_state(struct facts *f, const struct inode *i)
{
	const char *details = NULL, *word = NULL;

	if (i->state) {
		word = i->state->word;
		details = i->state->details;
	} else if (i->published && i->published->error) {
		word = "error";
		details = i->published->error;
	}
	snprintf(f->file_status, sizeof(f->file_status), "%s", word ? word : "");
	f->details = details ? strdup(details) : NULL;
	return details && !f->details ? -ENOMEM : 0;
}

/*
 * Filename: the File's own, which may differ from the entry's; a file not published yet gets the
 * entry's path.
 */
static int take_name(struct facts *f, const struct inode *i)
{
	if (f->dirty || !i->filename)
		return inode_path(i, &f->name);
	f->name = strdup(i->filename);
	return f->name ? 0 : -ENOMEM;
}

/* Collect the facts of i. Under lock. 0, -ENODATA for anything but a file, -ENOMEM. */
static int gather(const struct inode *i, struct facts *f)
{
	int r = 0;

	memset(f, 0, sizeof(*f));
	if (i->kind != INODE_FILE || i->special)
		return -ENODATA;
	f->purpose = i->purpose;
	f->bytes = i->bytes;
	f->created_at = i->created_at;
	f->expires_at = i->expires_at;
	if (i->side) {
		f->local = true;
		f->bytes = staged_size(i->side->st);
		publish_get_info(i->side->pub, &f->info);
		memcpy(f->upload_id, f->info.upload_id, sizeof(f->upload_id));
		memcpy(f->md5, f->info.md5, sizeof(f->md5));
		f->dirty = i->side->dirty || f->info.outcome != OUTCOME_COMPLETED;
	} else {
		f->info.status = "completed";
	}
	if (!f->dirty) {
		copy_published(f, i);
		if (i->file_id)
			snprintf(f->file_id, sizeof(f->file_id), "%s", i->file_id);
		r = i->file_id ? copy_state(f, i) : 0;
	}
	if (!r)
		r = take_name(f, i);
	if (r)
		release(f);
	return r;
}

typedef int value_fn(const struct facts *f, char *buf,
		     size_t size); /* returns the length; 0: no value */

static int text(char *buf, size_t size, const char *s)
{
	int n = snprintf(buf, size, "%s", s ? s : "");

	return n < 0 ? 0 : (size_t)n < size ? n : (int)size - 1;
}

static int value_file_id(const struct facts *f, char *buf, size_t size)
{
	return text(buf, size, f->file_id);
}

static int value_upload_id(const struct facts *f, char *buf, size_t size)
{
	return text(buf, size, f->upload_id);
}

static int value_status(const struct facts *f, char *buf, size_t size)
{
	return text(buf, size, f->info.status);
}

static int value_bytes(const struct facts *f, char *buf, size_t size)
{
	return snprintf(buf, size, "%" PRIu64, f->bytes);
}

static int value_md5(const struct facts *f, char *buf, size_t size)
{
	return text(buf, size, f->md5);
}

static int value_parts(const struct facts *f, char *buf, size_t size)
{
	if (f->local && f->info.parts_total)
		return snprintf(buf, size, "%u/%u", f->info.parts_done, f->info.parts_total);
	return f->parts ? snprintf(buf, size, "%u/%u", f->parts, f->parts) : 0;
}

static int value_filename(const struct facts *f, char *buf, size_t size)
{
	return text(buf, size, f->name);
}

static int value_purpose(const struct facts *f, char *buf, size_t size)
{
	return text(buf, size, f->purpose);
}

static int value_mime(const struct facts *f, char *buf, size_t size)
{
	const char *wished = f->local ? f->info.mime_type : "";

	return text(buf, size, *wished ? wished : api_mime_type(f->name));
}

static int value_created(const struct facts *f, char *buf, size_t size)
{
	return f->file_id[0] ? snprintf(buf, size, "%" PRId64, f->created_at) : 0;
}

static int value_expires(const struct facts *f, char *buf, size_t size)
{
	return f->file_id[0] && f->expires_at ? snprintf(buf, size, "%" PRId64, f->expires_at) : 0;
}

static int value_error(const struct facts *f, char *buf, size_t size)
{
	return text(buf, size, f->info.error);
}

static int value_request_id(const struct facts *f, char *buf, size_t size)
{
	return text(buf, size, f->info.request_id);
}

static int value_file_status(const struct facts *f, char *buf, size_t size)
{
	return text(buf, size, f->file_status);
}

static int value_details(const struct facts *f, char *buf, size_t size)
{
	return text(buf, size, f->details);
}

static const struct {
	const char *name;
	value_fn *value;
} attributes[] = {
	{ "file_id", value_file_id },
	{ "upload_id", value_upload_id },
	{ "status", value_status },
	{ "bytes", value_bytes },
	{ "md5", value_md5 },
	{ "parts", value_parts },
	{ "filename", value_filename },
	{ "purpose", value_purpose },
	{ "mime_type", value_mime },
	{ "created_at", value_created },
	{ "expires_at", value_expires },
	{ "error", value_error },
	{ "request_id", value_request_id },
	{ "file_status", value_file_status },
	{ "status_details", value_details },
};

#define ATTRIBUTES (sizeof(attributes) / sizeof(attributes[0]))

struct asking {
	struct publish_wait w; /* first */
	struct vfs *s;
	uint64_t ino;
	vfs_xattr_cb *cb;
	void *arg;
	unsigned which;
};

static int facts_of(struct vfs *s, uint64_t ino, struct facts *f)
{
	struct inode *i;
	int r;

	pthread_mutex_lock(&s->lock);
	i = inode_get(s->table, ino);
	r = i ? gather(i, f) : -ENOENT;
	pthread_mutex_unlock(&s->lock);
	return r;
}

static void answer(struct vfs *s, uint64_t ino, unsigned which, vfs_xattr_cb *cb, void *arg)
{
	char buf[65536];
	struct facts f;
	int n, r = facts_of(s, ino, &f);

	if (r) {
		cb(arg, r, NULL, 0);
		return;
	}
	n = attributes[which].value(&f, buf, sizeof(buf));
	release(&f);
	cb(arg, n > 0 ? 0 : -ENODATA, buf, n > 0 ? (size_t)n : 0);
}

static void answer_later(void *arg, int err)
{
	struct asking *a = arg;

	(void)err; /* after an error there is no File, hence no value */
	answer(a->s, a->ino, a->which, a->cb, a->arg);
	free(a);
}

/* The File ID is worth waiting for. True: cb will be called. */
static bool wait_for_end(struct vfs *s, uint64_t ino, unsigned which, vfs_xattr_cb *cb, void *arg)
{
	struct asking *a = calloc(1, sizeof(*a));
	struct publish_info info;
	struct inode *i;
	bool waits = false;

	if (!a)
		return false;
	*a = (struct asking){ .s = s,
			      .ino = ino,
			      .cb = cb,
			      .arg = arg,
			      .which = which,
			      .w = { .until = UNTIL_ENDED, .cb = answer_later, .arg = a } };
	pthread_mutex_lock(&s->lock);
	i = inode_get(s->table, ino);
	if (i && i->side) {
		publish_get_info(i->side->pub, &info);
		/* A held file waits for a rename, which may wait for us. */
		waits = info.under_way && strcmp(info.status, "held") != 0;
		if (waits)
			publish_wait(i->side->pub, &a->w);
	}
	pthread_mutex_unlock(&s->lock);
	if (!waits)
		free(a);
	return waits;
}

/* The service has answered, or has not: an error shows where nothing is known. */
static void answer_state(void *arg, int err)
{
	struct asking *a = arg;
	struct facts f;
	int r = err ? facts_of(a->s, a->ino, &f) : 0;

	if (err && !r) {
		r = f.file_status[0] ? 0 : err;
		release(&f);
	}
	if (r)
		a->cb(a->arg, r, NULL, 0);
	else
		answer(a->s, a->ino, a->which, a->cb, a->arg);
	free(a);
}

/* The service's status changes by itself. True: cb will be called. */
static bool ask_first(struct vfs *s, uint64_t ino, unsigned which, vfs_xattr_cb *cb, void *arg)
{
	struct asking *a = calloc(1, sizeof(*a));

	if (!a)
		return false;
	*a = (struct asking){ .s = s, .ino = ino, .cb = cb, .arg = arg, .which = which };
	if (vfs_ask_state(s, ino, answer_state, a))
		return true;
	free(a);
	return false;
}

void vfs_getxattr(struct vfs *s, uint64_t ino, const char *name, vfs_xattr_cb *cb, void *arg)
{
	size_t k = ATTRIBUTES;

	if (!strncmp(name, PREFIX, strlen(PREFIX)))
		for (k = 0; k < ATTRIBUTES; k++)
			if (!strcmp(name + strlen(PREFIX), attributes[k].name))
				break;
	if (!strcmp(name, LIFETIME_XATTR)) {
		lifetime_answer(s, ino, cb, arg);
		return;
	}
	if (!strcmp(name, CHECK_XATTR)) {
		check_answer(s, ino, cb, arg);
		return;
	}
	if (k == ATTRIBUTES) {
		cb(arg, -ENODATA, NULL, 0);
		return;
	}
	if ((attributes[k].value == value_file_status || attributes[k].value == value_details) &&
	    ask_first(s, ino, (unsigned)k, cb, arg))
		return;
	if (attributes[k].value == value_file_id && wait_for_end(s, ino, (unsigned)k, cb, arg))
		return;
	answer(s, ino, (unsigned)k, cb, arg);
}

/* Each look at the status is a request: leave out what is as usual. */
static bool is_shown(const struct facts *f, unsigned which)
{
	return attributes[which].value != value_file_status || strcmp(f->file_status, "processed");
}

/* Append the name of the check, if it has a value. Returns the new length. */
static size_t list_check(struct vfs *s, uint64_t ino, char *names, size_t len)
{
	const struct inode *i;

	pthread_mutex_lock(&s->lock);
	i = inode_get(s->table, ino);
	if (i && *check_word(check_of(s, i))) {
		memcpy(names + len, CHECK_XATTR, sizeof(CHECK_XATTR));
		len += sizeof(CHECK_XATTR);
	}
	pthread_mutex_unlock(&s->lock);
	return len;
}

static size_t list_dir(struct vfs *s, uint64_t ino, char *names)
{
	size_t len = 0;

	if (lifetime_of_dir(s, ino)) {
		memcpy(names, LIFETIME_XATTR, sizeof(LIFETIME_XATTR));
		len = sizeof(LIFETIME_XATTR);
	}
	return list_check(s, ino, names, len);
}

void vfs_listxattr(struct vfs *s, uint64_t ino, vfs_xattr_cb *cb, void *arg)
{
	char names[(ATTRIBUTES + 1) * 40], value[65536];
	struct facts f;
	size_t len = 0;
	int r = facts_of(s, ino, &f);

	if (r == -ENODATA) {
		len = list_dir(s, ino, names);
		cb(arg, 0, names, len);
		return;
	}
	if (r) {
		cb(arg, r, NULL, 0);
		return;
	}
	for (size_t k = 0; k < ATTRIBUTES; k++)
		if (is_shown(&f, (unsigned)k) && attributes[k].value(&f, value, sizeof(value)) > 0)
			len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", PREFIX,
						attributes[k].name) +
			       1;
	release(&f);
	len = list_check(s, ino, names, len);
	cb(arg, 0, names, len);
}

/* ---- setxattr ---- */

static int parse_u64(const char *s, uint64_t max, uint64_t *ret)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno || end == s || *end || s[0] == '-' || v == 0 || v > max)
		return -EINVAL;
	*ret = v;
	return 0;
}

struct setting {
	struct publish_wait w; /* first */
	vfs_done_cb *cb;
	void *arg;
};

static void set_over(void *arg, int err)
{
	struct setting *t = arg;

	t->cb(t->arg, err);
	free(t);
}

/* user.upload.publish: publish a failed, aborted or held file as it is. Under lock. */
static int set_publish(struct vfs *s, struct inode *i, const char *v, struct setting *t)
{
	struct staged_side *l = i->side;
	struct publish_info info;
	int r;

	if (strcmp(v, "1"))
		return -EINVAL;
	t->w.until = s->cfg.close_async ? UNTIL_DURABLE : UNTIL_ENDED;
	publish_get_info(l->pub, &info);
	if (info.outcome == OUTCOME_COMPLETED || (info.under_way && strcmp(info.status, "held"))) {
		/* Published, or being published: perhaps it is only looked for. */
		publish_force(l->pub);
		publish_wait(l->pub, &t->w);
		return 1;
	}
	r = publish_declare(l->pub, 0);
	if (r)
		return r;
	l->killed = l->dirty = l->touched = l->pristine = false;
	l->seals++;
	lost_clear(&l->lost);
	l->abort_reported = false;
	l->declared = 0;
	publish_force(l->pub);
	staged_seal(l->st);
	publish_seal(l->pub);
	publish_wait(l->pub, &t->w);
	return 1;
}

static bool is_settable(const char *name)
{
	static const char *const names[] = { "size", "mime_type", "expires_after", "publish",
					     "check" };

	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		if (!strcmp(name, names[k]))
			return true;
	return false;
}

/* Set one attribute. 0: done; 1: t's callback will come; or negative errno. Under lock. */
static int set(struct vfs *s, struct inode *i, const char *name, const char *v, struct setting *t)
{
	struct staged_side *l = i->side;
	uint64_t n;
	int r = 0;

	if (!l || l->dropped)
		return -EPERM; /* a File can't be changed */
	if (!strcmp(name, "publish"))
		return set_publish(s, i, v, t);
	if (!strcmp(name, "size")) {
		r = parse_u64(v, STAGED_SIZE_MAX, &n);
		if (r == -EINVAL && parse_u64(v, UINT64_MAX, &n) == 0)
			r = -EFBIG;
		if (!r)
			r = publish_declare(l->pub, n);
		if (!r)
			l->declared = n;
	} else if (!strcmp(name, "mime_type")) {
		if (!strchr(v, '/') || strlen(v) > 127)
			return -EINVAL;
		r = publish_set_mime(l->pub, v);
	} else {
		r = lifetime_parse(v, &n); /* expires_after */
		if (!r)
			r = publish_set_expiry(l->pub, n);
		l->expiry_set |= !r;
	}
	return r;
}

void vfs_setxattr(struct vfs *s, uint64_t ino, const char *name, const char *value, size_t len,
		  vfs_done_cb *cb, void *arg)
{
	struct setting *t;
	struct inode *i;
	char v[256];
	int r;

	/* Check the name before the value: mv and cp -a ignore this errno alone. */
	if (strncmp(name, PREFIX, strlen(PREFIX)) || !is_settable(name + strlen(PREFIX))) {
		cb(arg, -EOPNOTSUPP);
		return;
	}
	if (len >= sizeof(v) || memchr(value, '\0', len)) {
		cb(arg, -EINVAL);
		return;
	}
	memcpy(v, value, len);
	v[len] = '\0';
	t = calloc(1, sizeof(*t));
	if (!t) {
		cb(arg, -ENOMEM);
		return;
	}
	t->cb = cb;
	t->arg = arg;
	t->w.cb = set_over;
	t->w.arg = t;
	pthread_mutex_lock(&s->lock);
	i = inode_get(s->table, ino);
	if (!i)
		r = -ENOENT;
	else if (!strcmp(name, CHECK_XATTR))
		r = check_set(s, i, v);
	else if (i->kind == INODE_FILE)
		r = set(s, i, name + strlen(PREFIX), v, t);
	else
		r = strcmp(name, LIFETIME_XATTR) ? -EOPNOTSUPP : lifetime_set(s, i, v);
	pthread_mutex_unlock(&s->lock);
	if (r <= 0) {
		free(t);
		cb(arg, r);
	}
}
