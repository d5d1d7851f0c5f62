/*
 * journal: one JSON line for each request, for tests. Each line is appended with one write, so
 * lines never mix. The line is written before the last byte of its reply leaves, or at the end of a
 * request whose reply was not sent whole. Any thread; blocks on the disk.
 */
#ifndef UPLOADFS_NET_SERVER_JOURNAL_H
#define UPLOADFS_NET_SERVER_JOURNAL_H

#include <stdint.h>

struct journal_entry {
	uint64_t t_start_ms, t_first_ms, t_end_ms; /* monotonic; t_first_ms 0: no body */
	const char *op;				   /* NULL: no such operation */
	const char *method, *path;
	int status;					 /* 0: no reply was sent */
	const char *upload_id, *part_id, *file_id, *md5; /* "": null */
	uint64_t bytes;					 /* payload received, or sent for content */
	const uint64_t *items;				 /* Files in the page of a list, or NULL */
	const char *fault;				 /* the applied action, or NULL */
	unsigned conn;					 /* number of the connection, from 1 */
};

/* Open for appending, 0600. 0 or negative errno. */
int journal_open(const char *path, int *ret_fd);
/* fd -1: no journal. */
void journal_write(int fd, const struct journal_entry *e);

#endif
