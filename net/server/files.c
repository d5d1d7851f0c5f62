/* files: see files.h. */
#include "net/server/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/base/clock.h"
#include "net/base/log.h"
#include "net/server/store.h"

#define PAGE_BYTES (8u << 20) /* a page is cut short here, to bound memory */

static bool visible(const struct file *f, int64_t now)
{
	return !f->expires_at || now < f->expires_at;
}

static int compare(const struct file *a, const struct file *b)
{
	if (a->created_at != b->created_at)
		return a->created_at < b->created_at ? -1 : 1;
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

static int compare_slots(const void *a, const void *b)
{
	return compare(*(struct file *const *)a, *(struct file *const *)b);
}

/* Return the position of f in the order, or the place for it. */
static size_t position(const struct state *st, const struct file *f)
{
	size_t lo = 0, hi = st->file_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare(st->sorted[mid], f) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int reserve(struct state *st)
{
	size_t want = st->file_room ? st->file_room * 2 : 64;
	struct file **next;

	if (st->file_count < st->file_room)
		return 0;
	next = realloc(st->sorted, want * sizeof(*next));
	if (!next)
		return -ENOMEM;
	st->sorted = next;
	st->file_room = want;
	return 0;
}

static int insert(struct state *st, struct file *f)
{
	int err = reserve(st);
	size_t at;

	if (!err)
		err = map_put(&st->files, f->id, f);
	if (err)
		return err;
	at = position(st, f);
	memmove(st->sorted + at + 1, st->sorted + at, (st->file_count - at) * sizeof(*st->sorted));
	st->sorted[at] = f;
	st->file_count++;
	f->refs++;
	f->gone = false;
	return 0;
}

/* Take f out of the index; its reference passes to the caller. */
static void extract(struct state *st, struct file *f)
{
	size_t at = position(st, f);

	map_del(&st->files, f->id);
	st->file_count--;
	memmove(st->sorted + at, st->sorted + at + 1, (st->file_count - at) * sizeof(*st->sorted));
	f->gone = true;
}

static int save(struct state *st, const struct file *f)
{
	struct buf text;
	int err;

	buf_init(&text, 16u << 20);
	file_record(&text, f);
	err = store_record_write(st->store, STORE_FILES, f->id, &text, true);
	buf_release(&text);
	return err;
}

/* Return a unique and growing number, also over restarts; microseconds fit into a JSON number. */
static uint64_t next_seq(struct state *st)
{
	struct timespec ts = clock_wall_ts();
	uint64_t us = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;

	st->last_seq = us > st->last_seq ? us : st->last_seq + 1;
	return st->last_seq;
}

int file_commit(struct state *st, struct file *f)
{
	int err;

	pthread_mutex_lock(&st->lock);
	f->seq = next_seq(st);
	pthread_mutex_unlock(&st->lock);
	err = save(st, f);
	if (err) {
		/* It may be there all the same, and would be a File at the next start. */
		store_record_remove(st->store, STORE_FILES, f->id);
		return err;
	}
	pthread_mutex_lock(&st->lock);
	f->refs = 1;
	err = insert(st, f);
	pthread_mutex_unlock(&st->lock);
	if (err)
		store_record_remove(st->store, STORE_FILES, f->id);
	return err;
}

struct file *file_get(struct state *st, const char *id, struct refusal *r)
{
	struct file *f;

	pthread_mutex_lock(&st->lock);
	f = map_get(&st->files, id);
	if (f && !visible(f, clock_wall_s()))
		f = NULL;
	if (f)
		f->refs++;
	pthread_mutex_unlock(&st->lock);
	if (!f)
		refuse(r, 404, "id", NULL, "No such File object: %.100s", id);
	return f;
}

void file_unref(struct state *st, struct file *f)
{
	bool last;

	if (!f)
		return;
	pthread_mutex_lock(&st->lock);
	last = --f->refs == 0;
	pthread_mutex_unlock(&st->lock);
	if (!last)
		return;
	if (f->gone)
		store_data_remove(st->store, f->data);
	file_free(f);
}

/* Remove a File, unless another caller did so before. The caller holds a reference. */
static int discard(struct state *st, struct file *f)
{
	bool mine;
	int err;

	pthread_mutex_lock(&st->lock);
	mine = !f->gone;
	if (mine)
		extract(st, f);
	pthread_mutex_unlock(&st->lock);
	if (!mine)
		return -ENOENT;
	err = store_record_remove(st->store, STORE_FILES, f->id);
	if (err) {
		log_error("record of %s not removed: %s", f->id, strerror(-err));
		pthread_mutex_lock(&st->lock);
		if (insert(st, f))
			f->gone = false; /* keep the data: the record still needs it */
		pthread_mutex_unlock(&st->lock);
	}
	file_unref(st, f);
	return err;
}

int file_delete(struct state *st, const char *id, struct refusal *r)
{
	struct file *f = file_get(st, id, r);
	int err;

	if (!f)
		return -EPROTO;
	err = discard(st, f);
	if (err == -ENOENT)
		err = refuse(r, 404, "id", NULL, "No such File object: %s", f->id);
	file_unref(st, f);
	return err;
}

static struct file *any_expired(struct state *st)
{
	int64_t now = clock_wall_s();
	struct file *f = NULL;
	size_t i;

	pthread_mutex_lock(&st->lock);
	for (i = 0; i < st->file_count && !f; i++) {
		if (!visible(st->sorted[i], now))
			f = st->sorted[i];
	}
	if (f)
		f->refs++;
	pthread_mutex_unlock(&st->lock);
	return f;
}

void file_expire(struct state *st)
{
	struct file *f;
	int err = 0;

	while (!err && (f = any_expired(st))) {
		err = discard(st, f);
		file_unref(st, f);
	}
}

int file_adopt(struct state *st, struct file *f)
{
	int err = reserve(st);

	if (!err)
		err = map_put(&st->files, f->id, f);
	if (err)
		return err;
	f->refs = 1;
	st->sorted[st->file_count++] = f;
	if (f->seq > st->last_seq)
		st->last_seq = f->seq;
	return 0;
}

void file_sort(struct state *st)
{
	if (st->file_count)
		qsort(st->sorted, st->file_count, sizeof(*st->sorted), compare_slots);
}

static int invent(struct state *st, size_t number, uint64_t bytes)
{
	char name[32];
	struct file *f;
	int err;

	snprintf(name, sizeof(name), "%06zu.jsonl", number);
	f = file_new(name, "batch", 1);
	if (!f)
		return -ENOMEM;
	err = id_new(ID_FILE, f->id);
	if (!err)
		err = id_new(ID_PART, f->parts[0].id);
	f->parts[0].bytes = bytes;
	f->bytes = bytes;
	f->created_at = clock_wall_s();
	f->seq = number + 1;
	if (!err)
		err = file_adopt(st, f);
	if (err)
		file_free(f);
	return err;
}

int file_invent(struct state *st, size_t count, uint64_t bytes)
{
	size_t i;
	int err = 0;

	for (i = 0; i < count && !err; i++)
		err = invent(st, i, bytes);
	file_sort(st);
	return err;
}

/* Find the beginning of a page: an index, counted in the direction of the order. */
static int page_start(const struct state *st, const struct file_query *q, struct refusal *r,
		      size_t *ret)
{
	const struct file *f;
	size_t at;

	if (!q->after) {
		*ret = 0;
		return 0;
	}
	f = map_get(&st->files, q->after);
	if (!f)
		return refuse(r, 404, "after", NULL, "No such File object: %.100s", q->after);
	at = position(st, f);
	*ret = (q->desc ? st->file_count - 1 - at : at) + 1;
	return 0;
}

struct page {
	const struct file *first, *last;
	size_t count;
	bool more;
};

/* Write the members of the page. Under lock. */
static void page_fill(const struct state *st, const struct file_query *q, size_t at,
		      const struct reply_override *over, struct json_writer *w, struct page *page)
{
	int64_t now = clock_wall_s();

	for (; at < st->file_count; at++) {
		const struct file *f = st->sorted[q->desc ? st->file_count - 1 - at : at];

		if ((q->purpose && strcmp(q->purpose, f->purpose)) || !visible(f, now))
			continue;
		if (page->count == q->limit || w->out->len > PAGE_BYTES) {
			page->more = true;
			return;
		}
		file_json(w, NULL, f, over);
		if (!page->count++)
			page->first = f;
		page->last = f;
	}
}

int file_page(struct state *st, const struct file_query *q, const struct reply_override *over,
	      struct refusal *r, struct buf *out, uint64_t *ret_count)
{
	struct page page = { 0 };
	struct json_writer w;
	size_t at = 0;
	int err;

	json_w_init(&w, out);
	pthread_mutex_lock(&st->lock);
	err = page_start(st, q, r, &at);
	if (!err) {
		json_w_object(&w, NULL);
		json_w_str(&w, "object", "list");
		json_w_array(&w, "data");
		page_fill(st, q, at, over, &w, &page);
		json_w_end_array(&w);
		json_w_str(&w, "first_id", page.first ? page.first->id : NULL);
		json_w_str(&w, "last_id", page.last ? page.last->id : NULL);
		json_w_bool(&w, "has_more", page.more);
		json_w_end_object(&w);
	}
	pthread_mutex_unlock(&st->lock);
	if (!err)
		*ret_count = page.count;
	return err ? err : out->err;
}
