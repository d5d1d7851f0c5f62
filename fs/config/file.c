/* Options of a configuration file, one a line, written as behind -o. */
#include "fs/config/file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/config/draft.h"
#include "fs/config/say.h"
#include "fs/config/words.h"

#define LINES_MAX 10000 /* a longer file is no configuration */

/* A writer of the file decides where the key is sent. */
static int check_owner(FILE *f, const char *path)
{
	struct stat st;

	if (fstat(fileno(f), &st) < 0)
		return opts_fail("%s: %s; name a file that can be read", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return opts_fail("%s is no file; name a file with an option a line", path);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return opts_fail("%s belongs to another user; make it yours or root's", path);
	if (st.st_mode & 022)
		return opts_fail("%s can be written by others; run chmod go-w %s", path, path);
	return 0;
}

/* Strip surrounding white space, in place. */
static char *trim(char *line)
{
	size_t len;

	while (isspace((unsigned char)*line))
		line++;
	len = strlen(line);
	while (len && isspace((unsigned char)line[len - 1]))
		line[--len] = '\0';
	return line;
}

/* "NAME = VALUE" becomes "NAME=VALUE". In place. */
static char *join_sides(char *word)
{
	char *equals = strchr(word, '='), *value;
	size_t len;

	if (!equals)
		return word;
	value = trim(equals + 1);
	*equals = '\0';
	word = trim(word);
	len = strlen(word);
	word[len] = '=';
	memmove(word + len + 1, value, strlen(value) + 1);
	return word;
}

static int take_line(struct opts_draft *d, char *line)
{
	char *word = trim(line);

	if (!*word || *word == '#')
		return 0;
	word = join_sides(word);
	if (!strncmp(word, "config", strcspn(word, "=")) && strcspn(word, "=") == 6)
		return opts_fail("config stands in a file; it belongs to the command line");
	return opts_word(d, word);
}

static int read_file(struct opts_draft *d, FILE *f, const char *path)
{
	char *line = NULL, where[PATH_MAX + 32];
	size_t size = 0;
	unsigned n = 0;
	int rc = check_owner(f, path);

	d->where = where;
	while (!rc && getline(&line, &size, f) > 0) {
		snprintf(where, sizeof(where), "%s, line %u", path, ++n);
		rc = n > LINES_MAX ? -EMSGSIZE : take_line(d, line);
		if (rc == -EINVAL)
			opts_fail("%s; see uploadfs.conf(5)", where);
	}
	d->where = NULL;
	if (line)
		explicit_bzero(line, size); /* the line may hold a key */
	free(line);
	return rc;
}

/* needed: a missing file is an error. */
static int take_file(struct opts_draft *d, const char *path, bool needed)
{
	/* Do not block on a FIFO. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), rc;
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

	if (fd >= 0 && !f) {
		close(fd);
		return -ENOMEM;
	}
	if (!f && (needed || (errno != ENOENT && errno != ENOTDIR && errno != EACCES)))
		return opts_fail("config file %s: %s; name a file that can be read", path,
				 strerror(errno));
	if (!f)
		return 0;
	rc = read_file(d, f, path);
	fclose(f);
	return rc;
}

static int take_users(struct opts_draft *d)
{
	const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	char *path = NULL;
	int n = 0, rc;

	if (xdg && *xdg == '/')
		n = asprintf(&path, "%s/uploadfs.conf", xdg);
	else if (home && *home == '/')
		n = asprintf(&path, "%s/.config/uploadfs.conf", home);
	else
		return 0;
	if (n < 0)
		return -ENOMEM;
	rc = take_file(d, path, false);
	free(path);
	return rc;
}

int opts_config(struct opts_draft *d, const char *path)
{
	int rc;

	if (path && !strcmp(path, "/dev/null"))
		return 0;
	if (path)
		return take_file(d, path, true);
	rc = take_file(d, OPTS_HOST_FILE, false);
	return rc ? rc : take_users(d);
}
