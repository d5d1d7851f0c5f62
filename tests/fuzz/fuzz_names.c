/* fs/names: whatever a File is called, its entry can stand in a directory, and stays in it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/tree/names.h"
#include "tests/fuzz/support.h"

static bool reserved(const char *name)
{
	return !strcmp(name, ".by-id") || !strcmp(name, ".uploadfs");
}

static void check_entry(const char *name)
{
	char one[NAMES_MAX + 1], other[NAMES_MAX + 1], again[2 * NAMES_MAX];

	must(!names_check_new(name));
	must(!strchr(name, '/') && fuzz_printable(name, true));
	names_duplicate(name, "file-1", one);
	names_duplicate(name, "file-2", other);
	must(!names_check_new(one) && !names_check_new(other) && strcmp(one, other));
	must(!strcmp(one + strlen(one) - 7, "~file-1"));
	if (names_temporary(name, one)) {
		must(!names_check_new(one));
		snprintf(again, sizeof(again), ".%s.%s", one, name + strlen(name) - 6);
		must(!strcmp(again, name));
	}
}

static void check_path(const char *filename, const char *id)
{
	struct buf path = { .max = NAMES_PATH_MAX };
	char *copy, *at, *part;
	unsigned depth = 0;

	must(!names_path(filename, id, &path));
	must(path.len && path.len <= NAMES_PATH_MAX);
	if (!names_check_new(filename) && !reserved(filename))
		must(!strcmp(filename, buf_str(&path)));
	if (names_plain(filename)) {
		must(names_plain(filename) == strlen(filename) && !strchr(filename, '/'));
		must(!strcmp(filename, buf_str(&path)));
	}
	copy = at = strdup(buf_str(&path));
	must(copy);
	while ((part = strsep(&at, "/"))) {
		must(depth++ || !reserved(part));
		check_entry(part);
	}
	must(depth <= NAMES_DEPTH_MAX + 1);
	free(copy);
	buf_release(&path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *eol = size ? memchr(data, '\n', size) : NULL;
	size_t head = eol ? (size_t)(eol - data) : 0;
	char dir[NAMES_MAX + 1], *id, *filename;

	/* "ID\nFILENAME", or a filename alone. */
	id = fuzz_text(data, head);
	filename = fuzz_text(eol ? eol + 1 : data, size - (eol ? head + 1 : 0));
	check_path(filename, id);
	names_purpose_dir(filename, dir);
	must(!reserved(dir));
	check_entry(dir);
	free(id);
	free(filename);
	return 0;
}
