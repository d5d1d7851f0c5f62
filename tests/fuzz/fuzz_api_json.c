/* net/api_json: whatever a reply says, what is taken from it keeps what net/api/api.h promises. */
#include <stdlib.h>
#include <string.h>

#include "net/api/json.h"
#include "tests/fuzz/support.h"

static void check_file(const struct api_file *f)
{
	must(api_id_valid(f->id) && f->purpose[0] && strlen(f->purpose) <= API_WORD_MAX);
	must(strlen(f->filename) <= API_FILENAME_MAX);
	must(f->bytes <= 1ULL << 53 && (!f->bytes_unknown || !f->bytes));
	must(f->created_at >= 0 && f->created_at <= API_TIME_MAX);
	must(f->expires_at >= 0 && f->expires_at <= API_TIME_MAX);
}

/* The name that a request to create has for it; to be freed. */
static char *requested_name(const char *filename, const struct api_file *f)
{
	const struct api_upload_spec spec = { filename, f->purpose, "text/plain", f->bytes, 1 };
	struct buf out = { .max = 1 << 20 };
	struct json *root = NULL;
	uint64_t bytes = 0;
	char *name;

	api_json_put_create(&out, &spec);
	must(!out.err && !json_parse(out.data, out.len, &root));
	must(!json_u64(json_get(root, "bytes"), &bytes) && bytes == f->bytes);
	name = strdup(json_get_str(root, "filename"));
	must(name);
	json_free(root);
	buf_release(&out);
	return name;
}

/* A request says the name as it is; what of it is no UTF-8 is replaced once. */
static void check_create(const struct api_file *f)
{
	char *name = requested_name(f->filename, f), *again = requested_name(name, f);
	const char *s = f->filename;

	must(!strcmp(again, name));
	while (*s > 0 && *s < 0x7f)
		s++;
	must(*s || !strcmp(name, f->filename));
	free(name);
	free(again);
}

static void check_upload(const struct json *j)
{
	struct api_upload up;
	struct api_part part;

	if (!api_json_part(j, &part))
		must(part.id[0] && strlen(part.id) <= API_ID_MAX);
	if (api_json_upload(j, &up))
		return;
	must(api_id_valid(up.id) && up.status <= API_UPLOAD_OTHER && up.bytes <= 1ULL << 53);
	must(up.created_at >= 0 && up.created_at <= API_TIME_MAX && up.expires_at >= 0);
	if (up.has_file)
		check_file(&up.file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json *root;
	struct api_file file;

	if (json_parse((const char *)data, size, &root))
		return 0;
	check_upload(root);
	if (!api_json_file(root, &file)) {
		check_file(&file);
		check_create(&file);
	}
	if (!api_json_deleted(root, "file-1") && json_get_str(root, "id"))
		must(!strcmp(json_get_str(root, "id"), "file-1"));
	json_free(root);
	return 0;
}
