/*
 * fail: a publication fails: the error to report, the log line, the time of the next try.
 *
 * Publisher thread. err: negative errno; texts are copied.
 */
#ifndef UPLOADFS_FS_PUBLISH_FAIL_H
#define UPLOADFS_FS_PUBLISH_FAIL_H

#include <stdbool.h>

#include "fs/remote/errmap.h"
#include "net/api/api.h"

struct publish;

/* The last failure. */
struct failure {
	int err, http_status;
	char error[640], request_id[128];
	struct api_error first_err;  /* reported if a probe finds the Upload alive */
	enum errmap_call first_call; /* the call that first_err answered */
	bool complete_refused;	     /* first_err refused complete */
};

/* True if the daemon ends: no next try in this life. */
bool publish_is_draining(const struct publish *p);
/* Set failure.err and its texts; err 0 and "" clear them. */
void publish_note_error(struct publish *p, int err, const char *text, const char *request_id);
/*
 * True if the file was removed, perhaps since this look began. A failure of such a file is none.
 * Takes the publisher's lock.
 */
bool publish_is_unwanted(struct publish *p);
/* Fail: note the error and go to PHASE_FAILING, which ends once the bytes are synced. */
void publish_fail(struct publish *p, int err, const char *text, const char *request_id);
/*
 * Before the close (or in a hold): cancel the Upload, stop streaming until the close, and return
 * true. After the close: return false, nothing done.
 */
bool publish_stream_fails(struct publish *p, const char *text);
/* End as failed: log, set the next try, save the record. */
void publish_end_failed(struct publish *p);
/* Fail with the errno and text of an API error. A renewed key (401) makes it a new try instead. */
void publish_fail_api(struct publish *p, const struct api_error *err);
/* Fail with an error of the local disk; what: the step that failed. */
void publish_fail_errno(struct publish *p, int err, const char *what);
/* The same, and cancel the Upload; before the close only stop streaming. */
void publish_fail_local(struct publish *p, int err, const char *what);
/* The same for -ENOMEM while starting a request. */
void publish_fail_memory(struct publish *p);
/* Cancel the Upload and fail: a line is no JSON object. */
void publish_fail_line(struct publish *p);
/* The same: the staged file is not what was written. */
void publish_fail_damaged(struct publish *p);
/* Go to PHASE_VERIFYING and hash the staged file again; publish_verified() reports. */
void publish_verify(struct publish *p);

#endif
