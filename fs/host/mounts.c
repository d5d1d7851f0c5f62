#include "fs/host/mounts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#define FIELD_MAX 16384 /* bytes of a field: a path is at most 4096, each escaped as four */

/* mountinfo writes blanks and backslashes as \ooo. In place. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		/* Three digits, or what stands there: a shorter one would lead beyond the end. */
		if (*s == '\\' && strspn(s + 1, "01234567") >= 3 && s[1] < '4') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* The nth field of line, from 0, unescaped; NULL: there is none, or no memory. */
static char *field(const char *line, unsigned n)
{
	char *copy;
	size_t len;

	while (n--) {
		line += strcspn(line, " \n");
		line += strspn(line, " ");
	}
	len = strcspn(line, " \n");
	if (!len || len > FIELD_MAX)
		return NULL;
	copy = strndup(line, len);
	if (copy)
		unescape(copy);
	return copy;
}

/* The number behind "user_id=" among the options of the file system. */
static bool user_of(const char *options, uid_t *ret)
{
	const char *at = strstr(options, "user_id=");
	unsigned uid;

	if (!at || (at != options && at[-1] != ',') || sscanf(at, "user_id=%u", &uid) != 1)
		return false;
	*ret = uid;
	return true;
}

/* Mounted by us, or by a parent for /dev/fd/N. NULL: not ours. */
static const char *type_of(const char *line)
{
	const char *behind = strstr(line, " - fuse.uploadfs ");

	return behind ? behind : strstr(line, " - fuse uploadfs ");
}

/* "36 35 0:50 / /mnt rw shared:1 - fuse.uploadfs SOURCE rw,user_id=0,…" */
int mounts_take_line(struct mount_list *list, const char *line)
{
	const char *behind = type_of(line);
	struct mount_entry e = { 0 }, *grown;
	unsigned major, minor;
	char *options;
	int r = -ENOMEM;

	if (!behind || sscanf(line, "%*d %*d %u:%u", &major, &minor) != 2)
		return 0;
	e.dev = makedev(major, minor);
	e.path = field(line, 4);
	e.source = field(behind + 1, 2);
	options = field(behind + 1, 3);
	if (!e.path || !e.source || !options)
		goto fail;
	r = 0;
	if (!user_of(options, &e.uid))
		goto fail;
	grown = realloc(list->v, (list->count + 1) * sizeof(*grown));
	r = grown ? 0 : -ENOMEM;
	if (!grown)
		goto fail;
	list->v = grown;
	list->v[list->count++] = e;
	free(options);
	return 0;
fail:
	free(options);
	free(e.path);
	free(e.source);
	return r;
}

int mounts_read(struct mount_list *ret)
{
	struct mount_list list = { 0 };
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;
	int r = 0;

	if (!f)
		return -errno;
	while (!r && getline(&line, &size, f) > 0)
		r = mounts_take_line(&list, line);
	free(line);
	fclose(f);
	if (r)
		mounts_free(&list);
	else
		*ret = list;
	return r;
}

void mounts_free(struct mount_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->v[i].path);
		free(list->v[i].source);
	}
	free(list->v);
	memset(list, 0, sizeof(*list));
}

const struct mount_entry *mounts_find(const struct mount_list *list, const char *path)
{
	const struct mount_entry *found = NULL;

	for (size_t i = 0; i < list->count; i++)
		if (!strcmp(list->v[i].path, path))
			found = &list->v[i];
	return found;
}

const struct mount_entry *mounts_above(const struct mount_list *list, const char *path)
{
	const struct mount_entry *found = NULL;
	size_t best = 0;

	for (size_t i = 0; i < list->count; i++) {
		size_t len = strlen(list->v[i].path);

		if (len < best || strncmp(path, list->v[i].path, len) ||
		    (path[len] && path[len] != '/'))
			continue;
		found = &list->v[i];
		best = len;
	}
	return found;
}

const struct mount_entry *mounts_only(const struct mount_list *list, uid_t uid)
{
	const struct mount_entry *own = NULL;
	size_t n = 0;

	if (list->count == 1)
		return &list->v[0];
	for (size_t i = 0; i < list->count; i++) {
		if (list->v[i].uid != uid)
			continue;
		own = &list->v[i];
		n++;
	}
	return n == 1 ? own : NULL;
}

static bool take_type(const char *line, dev_t dev, struct mount_type *ret)
{
	const char *behind = strstr(line, " - ");
	unsigned major, minor;
	char *name, *options;

	if (!behind || sscanf(line, "%*d %*d %u:%u", &major, &minor) != 2 ||
	    makedev(major, minor) != dev)
		return false;
	name = field(behind + 1, 1);
	options = field(behind + 1, 3);
	snprintf(ret->name, sizeof(ret->name), "%s", name ? name : "");
	snprintf(ret->options, sizeof(ret->options), "%s", options ? options : "");
	free(name);
	free(options);
	return true;
}

int mounts_type_of(dev_t dev, struct mount_type *ret)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;
	bool found = false;

	if (!f)
		return -errno;
	while (!found && getline(&line, &size, f) > 0)
		found = take_type(line, dev, ret);
	free(line);
	fclose(f);
	return found ? 0 : -ENOENT;
}
