/* list: see list.h. */
#include "net/server/list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/json.h"
#include "net/server/model.h"
#include "net/server/partlist.h"
#include "net/server/store.h"

struct listing {
	struct store *store;
	struct upload **uploads;
	struct file **files;
	size_t upload_count, upload_room, file_count, file_room;
};

static void *grown(void *array, size_t count, size_t *room)
{
	size_t want = *room ? *room * 2 : 64;
	void *next;

	if (count < *room)
		return array;
	next = realloc(array, want * sizeof(void *));
	if (next)
		*room = want;
	return next;
}

/* Leave out records that are damaged or being replaced. */
static int take_upload(void *arg, const char *id, const char *text, size_t len)
{
	struct listing *l = arg;
	struct upload **next = grown(l->uploads, l->upload_count, &l->upload_room);

	if (!next)
		return -ENOMEM;
	l->uploads = next;
	if (!upload_parse(id, text, len, &l->uploads[l->upload_count]))
		l->upload_count++;
	return 0;
}

static int take_file(void *arg, const char *id, const char *text, size_t len)
{
	struct listing *l = arg;
	struct file **next = grown(l->files, l->file_count, &l->file_room);

	if (!next)
		return -ENOMEM;
	l->files = next;
	if (!file_parse(id, text, len, &l->files[l->file_count]))
		l->file_count++;
	return 0;
}

static int compare_uploads(const void *a, const void *b)
{
	const struct upload *x = *(struct upload *const *)a, *y = *(struct upload *const *)b;

	if (x->created_at != y->created_at)
		return x->created_at < y->created_at ? -1 : 1;
	return strcmp(x->id, y->id);
}

static int compare_files(const void *a, const void *b)
{
	const struct file *x = *(struct file *const *)a, *y = *(struct file *const *)b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void write_part(struct json_writer *w, const char *id, uint64_t bytes)
{
	json_w_object(w, NULL);
	json_w_str(w, "id", id);
	json_w_u64(w, "bytes", bytes);
	json_w_end_object(w);
}

static void write_parts(struct json_writer *w, struct store *store, const struct upload *up)
{
	struct part_list list;
	size_t i;

	json_w_array(w, "parts");
	if (!part_list_load(&list, store, up->id)) {
		for (i = 0; i < list.count; i++)
			write_part(w, list.v[i].id, list.v[i].bytes);
		part_list_release(&list);
	}
	json_w_end_array(w);
}

static void write_upload(struct json_writer *w, struct store *store, const struct upload *up)
{
	json_w_object(w, NULL);
	json_w_str(w, "id", up->id);
	json_w_str(w, "status", upload_status_name(up->status));
	json_w_str(w, "filename", up->filename);
	json_w_str(w, "purpose", up->purpose);
	json_w_str(w, "mime_type", up->mime_type);
	json_w_u64(w, "bytes", up->bytes);
	json_w_i64(w, "created_at", up->created_at);
	json_w_i64(w, "expires_at", up->expires_at);
	json_w_str(w, "file_id", *up->file_id ? up->file_id : NULL);
	write_parts(w, store, up);
	json_w_end_object(w);
}

static void write_file(struct json_writer *w, const struct file *f)
{
	size_t i;

	json_w_object(w, NULL);
	json_w_str(w, "id", f->id);
	json_w_str(w, "filename", f->filename);
	json_w_str(w, "purpose", f->purpose);
	json_w_u64(w, "bytes", f->bytes);
	json_w_i64(w, "created_at", f->created_at);
	if (f->expires_at)
		json_w_i64(w, "expires_at", f->expires_at);
	else
		json_w_null(w, "expires_at");
	json_w_str(w, "upload_id", *f->upload_id ? f->upload_id : NULL);
	json_w_array(w, "parts");
	for (i = 0; i < f->part_count; i++)
		write_part(w, f->parts[i].id, f->parts[i].bytes);
	json_w_end_array(w);
	json_w_end_object(w);
}

static void write_all(struct listing *l, struct buf *out)
{
	struct json_writer w;
	size_t i;

	json_w_init(&w, out);
	json_w_object(&w, NULL);
	json_w_array(&w, "uploads");
	for (i = 0; i < l->upload_count; i++)
		write_upload(&w, l->store, l->uploads[i]);
	json_w_end_array(&w);
	json_w_array(&w, "files");
	for (i = 0; i < l->file_count; i++)
		write_file(&w, l->files[i]);
	json_w_end_array(&w);
	json_w_end_object(&w);
}

static void release(struct listing *l)
{
	size_t i;

	for (i = 0; i < l->upload_count; i++)
		upload_free(l->uploads[i]);
	for (i = 0; i < l->file_count; i++)
		file_free(l->files[i]);
	free(l->uploads);
	free(l->files);
	store_close(l->store);
}

int list_directory(const char *dir, struct buf *out)
{
	struct listing l = { 0 };
	int err = store_open(dir, false, &l.store);

	if (err)
		return err;
	err = store_record_each(l.store, STORE_UPLOADS, take_upload, &l);
	if (!err)
		err = store_record_each(l.store, STORE_FILES, take_file, &l);
	if (!err) {
		if (l.upload_count)
			qsort(l.uploads, l.upload_count, sizeof(*l.uploads), compare_uploads);
		if (l.file_count)
			qsort(l.files, l.file_count, sizeof(*l.files), compare_files);
		write_all(&l, out);
		err = out->err;
	}
	release(&l);
	return err;
}
