/*
 * api_json: API objects <-> JSON. Pure, any thread, one document per thread.
 *
 * The readers check a reply as net/api/api.h promises and fill in *ret, whose
 * strings belong to the document. They return NULL, or, leaving *ret alone, a
 * few constant words that say what is wrong.
 */
#ifndef UPLOADFS_NET_API_JSON_H
#define UPLOADFS_NET_API_JSON_H

#include "net/api/api.h"
#include "net/base/buf.h"
#include "net/base/json.h"

#define API_TIME_MAX 253402300799LL	 /* the end of the year 9999 */
#define API_COUNT_MAX 9007199254740992.0 /* 2^53 */

/* The seconds of a time; milli-, micro- and nanoseconds are recognised. 0: no time. */
int64_t api_seconds(double number);
/* A number of bytes, without its fraction. False: it is none. */
bool api_count(double number, uint64_t *ret);

#define API_DETAILS_SIZE 512

/* Request bodies; errors are sticky in out. */
void api_json_put_create(struct buf *out, const struct api_upload_spec *spec);
void api_json_put_complete(struct buf *out, const char *const *part_ids, size_t part_count,
			   const char *md5_hex);

const char *api_json_upload(const struct json *j, struct api_upload *ret);
const char *api_json_part(const struct json *j, struct api_part *ret);
const char *api_json_file(const struct json *j, struct api_file *ret);
const char *api_json_deleted(const struct json *j, const char *id);

/*
 * Reads a page from unparsed text (net/api/page.c); refuses what json_parse() refuses. The text may
 * be freed afterwards. ret->files and ret->text are allocated; release them with free(). Entries
 * that fail the checks of api_json_file(), which are those without an id, are skipped and counted;
 * entries with status deleted are left out. after: the cursor this page was asked with, or "". A
 * page that claims more, but whose next page would start at the same place again, is the last one:
 * stuck.
 */
const char *api_json_page(const char *body, size_t len, const char *after,
			  struct api_file_page *ret);

/*
 * In net/api/error.c, as api_clean() is.
 *
 * Fills in code, type and message from the body of a reply outside 2xx: the
 * API's JSON, JSON of other shapes (error as a string or a list, detail, a list
 * as a whole), or anything else (the title or a heading of an HTML page, or the
 * first line). The rest of *err stays.
 */
void api_json_error(const char *body, size_t len, struct api_error *err);

/*
 * Copies foreign text for people to read: secrets redacted, control bytes
 * escaped, one line, cut at a character to at most size - 1 bytes.
 */
void api_clean(char *dst, size_t size, const char *src);
/* Replaces the details of a File, if it has any, by a copy for people to read, in room. */
void api_clean_details(struct api_file *file, char room[API_DETAILS_SIZE]);

#endif
