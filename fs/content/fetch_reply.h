/*
 * fetch_reply: the service's answers to a fetch's requests. Network thread.
 */
#ifndef UPLOADFS_FS_CONTENT_FETCH_REPLY_H
#define UPLOADFS_FS_CONTENT_FETCH_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api_error;

/* For struct fetcher: an api_data_cb and an api_content_cb. arg: the struct fetch_req. */
int fetch_reply_data(void *arg, uint64_t offset, const void *data, size_t len);
void fetch_reply_done(void *arg, const struct api_error *err, bool ranged);

#endif
