#include "tests/unit/api_wait.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_S 60

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

void api_wait_init(struct api_wait *w)
{
	memset(w, 0, sizeof(*w));
	buf_init(&w->data, 256U << 20);
}

void api_wait_release(struct api_wait *w)
{
	buf_release(&w->data);
}

static void copy_id(char *dst, const char *src)
{
	snprintf(dst, API_ID_MAX + 1, "%s", src);
}

static void copy_file(struct api_wait *w, const struct api_file *f)
{
	snprintf(w->filename, sizeof(w->filename), "%s", f->filename);
	w->bytes = f->bytes;
}

static void begin(struct api_wait *w, const struct api_error *err)
{
	pthread_mutex_lock(&lock);
	w->err = *err;
}

static void end(struct api_wait *w)
{
	w->calls++;
	w->done = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

void api_wait_upload(void *arg, const struct api_error *err, const struct api_upload *up)
{
	struct api_wait *w = arg;

	begin(w, err);
	if (up) {
		copy_id(w->id, up->id);
		w->status = up->status;
		w->bytes = up->bytes;
		if (up->has_file) {
			copy_id(w->file_id, up->file.id);
			copy_file(w, &up->file);
		}
	}
	end(w);
}

void api_wait_part(void *arg, const struct api_error *err, const struct api_part *part)
{
	struct api_wait *w = arg;

	begin(w, err);
	if (part)
		copy_id(w->id, part->id);
	end(w);
}

void api_wait_file(void *arg, const struct api_error *err, const struct api_file *file)
{
	struct api_wait *w = arg;

	begin(w, err);
	if (file) {
		copy_id(w->id, file->id);
		copy_file(w, file);
	}
	end(w);
}

void api_wait_done_cb(void *arg, const struct api_error *err)
{
	begin(arg, err);
	end(arg);
}

void api_wait_page(void *arg, const struct api_error *err, struct api_file_page *page)
{
	struct api_wait *w = arg;

	begin(w, err);
	if (page) {
		w->count = page->count;
		w->skipped = page->skipped;
		w->has_more = page->has_more;
		copy_id(w->last_id, page->last_id);
		if (page->count) {
			copy_id(w->id, page->files[0].id);
			copy_file(w, &page->files[0]);
		}
	}
	end(w);
}

int api_wait_data(void *arg, uint64_t offset, const void *data, size_t len)
{
	struct api_wait *w = arg;
	int rc;

	pthread_mutex_lock(&lock);
	w->gap |= offset != w->next || !len;
	w->next = offset + len;
	buf_add(&w->data, data, len);
	rc = w->data_result;
	if (w->cancel_in_data)
		api_req_cancel(w->cancel_in_data);
	pthread_mutex_unlock(&lock);
	return rc;
}

void api_wait_content(void *arg, const struct api_error *err, bool ranged)
{
	struct api_wait *w = arg;

	begin(w, err);
	w->ranged = ranged;
	end(w);
}

bool api_wait_done(struct api_wait *w)
{
	bool done;

	pthread_mutex_lock(&lock);
	done = w->done;
	pthread_mutex_unlock(&lock);
	return done;
}

bool api_wait_for(struct api_wait *w, struct api_req *req)
{
	struct timespec until;
	bool done;

	if (!req)
		return false;
	api_req_unref(req);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += DEADLINE_S;
	pthread_mutex_lock(&lock);
	while (!w->done && !pthread_cond_timedwait(&changed, &lock, &until))
		;
	done = w->done;
	pthread_mutex_unlock(&lock);
	return done;
}

bool api_wait_until(bool (*cond)(void *arg), void *arg)
{
	unsigned i;

	for (i = 0; i < DEADLINE_S * 200; i++) {
		if (cond(arg))
			return true;
		usleep(5000);
	}
	return false;
}
