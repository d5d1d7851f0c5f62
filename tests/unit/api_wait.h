/*
 * api_wait: calls of net/api/api.h made to wait for, with a deadline.
 *
 * A struct api_wait holds what a callback was given, copied. The callbacks may
 * be passed straight to the calls, with the struct as arg.
 */
#ifndef UPLOADFS_TESTS_API_WAIT_H
#define UPLOADFS_TESTS_API_WAIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/api/api.h"
#include "net/base/buf.h"

struct api_wait {
	bool done;	/* read it with api_wait_done() */
	unsigned calls; /* of the callback */
	struct api_error err;
	char id[API_ID_MAX + 1];      /* of the Upload, Part or File */
	char file_id[API_ID_MAX + 1]; /* of a completed Upload */
	char last_id[API_ID_MAX + 1];
	char filename[256];
	enum api_upload_status status;
	uint64_t bytes;
	size_t count, skipped;
	bool has_more, ranged;
	struct buf data; /* of content */
	uint64_t next;	 /* offset that content must come at */
	bool gap;	 /* content came at another */
	int data_result; /* what the data callback returns */
	struct api_req *req;
	struct api_req *cancel_in_data; /* cancelled by the data callback */
};

void api_wait_init(struct api_wait *w);
void api_wait_release(struct api_wait *w);

api_upload_cb api_wait_upload;
api_part_cb api_wait_part;
api_file_cb api_wait_file;
api_done_cb api_wait_done_cb;
api_page_cb api_wait_page;
api_data_cb api_wait_data;
api_content_cb api_wait_content;

bool api_wait_done(struct api_wait *w);
/*
 * Drops req and waits for the callback of w. False after 60 s (the caller must
 * then leave w alone until api_free()).
 */
bool api_wait_for(struct api_wait *w, struct api_req *req);
/* Waits until cond(arg), looking every few milliseconds. False after 60 s. */
bool api_wait_until(bool (*cond)(void *arg), void *arg);

#endif
